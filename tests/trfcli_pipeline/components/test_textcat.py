from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed
from torch.nn import functional

from trfcli_pipeline import TransformersLanguage, TransformersTextCategorizer
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.optimizers import make_optimizer

LAST_HIDDEN = "softmax_last_hidden"
CLASS_VECTOR = "softmax_class_vector"
POOLER_OUTPUT = "softmax_pooler_output"
ARCHITECTURES = [LAST_HIDDEN, CLASS_VECTOR, POOLER_OUTPUT]
LABELS = ("FRUIT", "DOG", "FILM")
TEXTS = ["Apple pie is delicious!", "The lazy dog. Jumps over!", "I love this film", "", " "]


def make(
    path: Path, *labels: str, weights: bool = True, keep: Any = "all", **config: Any
) -> Language:
    """A pipeline whose classifier has random weights; they are zeros otherwise."""
    # English takes longer to load than all of the rest.
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(path)})
    nlp.add_pipe("trf_tok2vec", config={"trf_name": str(path), "keep": keep})
    textcat = nlp.add_pipe("trf_textcat", config=config)
    for label in labels or LABELS:
        textcat.add_label(label)
    nlp.initialize()
    if weights:
        output = textcat.model.get_ref("output_layer")
        shape = output.get_param("W").shape
        output.set_param("W", np.random.default_rng(0).normal(size=shape).astype("f") / 4)
    return nlp


def with_cats(nlp: Language, *cats: dict[str, float]) -> list[Example]:
    return [
        Example.from_dict(nlp.make_doc(text), {"cats": each})
        for text, each in zip(TEXTS * 2, cats, strict=False)
    ]


@pytest.fixture(scope="module")
def exclusive(tiny_bert: Path) -> Language:
    return make(tiny_bert, exclusive_classes=True)


@pytest.fixture(scope="module")
def multilabel(tiny_bert: Path) -> Language:
    return make(tiny_bert, exclusive_classes=False)


# --- scores ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_scores_are_those_of_the_features(
    tiny_bert: Path, architecture: str, exclusive_classes: bool
) -> None:
    nlp = make(tiny_bert, architecture=architecture, exclusive_classes=exclusive_classes)
    output = nlp.get_pipe("trf_textcat").model.get_ref("output_layer")
    for doc in nlp.pipe(TEXTS):
        hidden = doc._.trf_last_hidden_state
        firsts = np.cumsum([0, *doc._.trf_segments[:, 2]])[:-1]
        rows = {
            LAST_HIDDEN: hidden,
            CLASS_VECTOR: hidden[firsts],
            POOLER_OUTPUT: doc._.trf_pooler_output,
        }[architecture]
        features = rows.mean(axis=0) if len(rows) else np.zeros(hidden.shape[1])
        logits = torch.tensor(output.get_param("W") @ features + output.get_param("b"))
        expected = logits.softmax(0) if exclusive_classes else logits.sigmoid()
        assert list(doc.cats) == list(LABELS)
        np.testing.assert_allclose(list(doc.cats.values()), expected, atol=1e-5)
        if exclusive_classes:
            assert sum(doc.cats.values()) == pytest.approx(1.0, abs=1e-5)


def test_multilabel_scores_are_independent(multilabel: Language) -> None:
    sums = [sum(multilabel(text).cats.values()) for text in TEXTS[:3]]
    assert all(abs(total - 1.0) > 1e-3 for total in sums)


@pytest.mark.parametrize("fixture", ["exclusive", "multilabel"])
def test_an_empty_doc_has_the_scores_of_no_features(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    nlp = request.getfixturevalue(fixture)
    chance = pytest.approx(1 / len(LABELS) if fixture == "exclusive" else 0.5)
    # Among other Docs, among its like, and alone.
    assert [list(nlp.pipe(TEXTS))[3].cats] == [dict.fromkeys(LABELS, chance)]
    assert [doc.cats for doc in nlp.pipe(["", ""])] == [dict.fromkeys(LABELS, chance)] * 2
    assert nlp("").cats == dict.fromkeys(LABELS, chance)


def test_labels_that_are_not_exclusive_start_at_their_shares(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, *LABELS, "RARE", "UNKNOWN", weights=False)
    cats: list[dict[str, float]] = [{"FRUIT": 1.0, "DOG": 0.0, "RARE": 0.0}] * 3
    cats += [{"FRUIT": 0.0, "FILM": 1.0}, {"DOG": 1.0, "FILM": 0.0, "RARE": 0.0}]
    examples = with_cats(nlp, *cats)
    nlp.initialize(lambda: examples)
    expected = {"FRUIT": 3 / 4, "DOG": 1 / 4, "FILM": 1 / 2, "RARE": 0.01, "UNKNOWN": 1 / 2}
    for text in TEXTS:
        assert nlp(text).cats == {label: pytest.approx(expected[label]) for label in expected}


def test_a_new_classifier_finds_all_labels_equally_likely(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=True)
    assert nlp(TEXTS[0]).cats == dict.fromkeys(LABELS, pytest.approx(1 / 3))


@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_a_probe_fits_what_is_known(tiny_bert: Path, exclusive_classes: bool) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=exclusive_classes)
    textcat = nlp.get_pipe("trf_textcat")
    cats: list[dict[str, float]] = [
        {label: float(label == holding) for label in LABELS} for holding in LABELS
    ]
    examples = with_cats(nlp, *cats)
    # Only part of what is known, where labels aren't exclusive.
    examples += with_cats(nlp, {} if exclusive_classes else {"FRUIT": 1.0})
    docs = list(nlp.pipe([example.text for example in examples]))
    features = textcat.model.get_ref("features").predict(docs)

    def loss() -> float:
        return float(textcat.get_loss(examples, textcat.predict(docs))[0])

    before = loss()
    textcat.start_at_probe(features, examples)
    assert loss() < before
    output = textcat.model.get_ref("output_layer")
    best = output.get_param("W").copy()
    scale = np.linalg.norm(features, axis=1).mean()
    n_terms = 3 if exclusive_classes else 10

    def objective(weights: Any) -> float:
        output.set_param("W", weights)
        return n_terms * loss() + 0.5 * float(((scale * weights) ** 2).sum())

    generator = np.random.default_rng(0)
    for _ in range(10):
        other = best + generator.normal(scale=0.1 / scale, size=best.shape).astype("f")
        assert objective(best) < objective(other)


# --- the loss, against torch ---


def random_logits(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(rows, len(LABELS), generator=generator)


def one_hot(index: int) -> dict[str, float]:
    return {label: float(i == index) for i, label in enumerate(LABELS)}


@pytest.mark.parametrize("targets", [[0], [2, 1], [0, 1, 2, 2, 1]])
def test_the_exclusive_loss_is_the_cross_entropy(exclusive: Language, targets: list[int]) -> None:
    logits = random_logits(len(targets)).requires_grad_()
    expected = functional.cross_entropy(logits, torch.tensor(targets))
    expected.backward()
    examples = with_cats(exclusive, *map(one_hot, targets))
    scores = logits.detach().softmax(dim=1).numpy()
    loss, gradient = exclusive.get_pipe("trf_textcat").get_loss(examples, scores)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-6)
    assert gradient.dtype == np.float32


@pytest.mark.parametrize(
    "targets", [[[1, 0, 0]], [[0, 0, 0], [1, 1, 1]], [[1, 0, 1], [0, 0.25, 1], [0.5, 1, 0]]]
)
def test_the_multilabel_loss_is_the_binary_cross_entropy(
    multilabel: Language, targets: list[list[float]]
) -> None:
    logits = random_logits(len(targets)).requires_grad_()
    truths = torch.tensor(targets, dtype=torch.float32)
    expected = functional.binary_cross_entropy_with_logits(logits, truths)
    expected.backward()
    examples = with_cats(multilabel, *(dict(zip(LABELS, row, strict=True)) for row in targets))
    scores = logits.detach().sigmoid().numpy()
    loss, gradient = multilabel.get_pipe("trf_textcat").get_loss(examples, scores)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-6)


def test_missing_labels_count_neither_in_the_loss_nor_in_its_gradient(
    multilabel: Language,
) -> None:
    logits = random_logits(3).requires_grad_()
    known = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    truths = torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, 1]], dtype=torch.float32)
    expected = functional.binary_cross_entropy_with_logits(logits[known], truths[known])
    expected.backward()
    cats = ({"FRUIT": 1.0, "FILM": 0.0}, {}, {"FRUIT": 0.0, "DOG": 1.0, "FILM": 1.0})
    loss, gradient = multilabel.get_pipe("trf_textcat").get_loss(
        with_cats(multilabel, *cats), logits.detach().sigmoid().numpy()
    )
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-6)
    assert not gradient[~known.numpy()].any()


def test_an_example_without_an_exclusive_label_has_no_gradient(exclusive: Language) -> None:
    logits = random_logits(2).requires_grad_()
    expected = functional.cross_entropy(logits[:1], torch.tensor([1]))
    expected.backward()
    loss, gradient = exclusive.get_pipe("trf_textcat").get_loss(
        with_cats(exclusive, one_hot(1), {}), logits.detach().softmax(1).numpy()
    )
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-6)


@pytest.mark.parametrize("fixture", ["exclusive", "multilabel"])
def test_the_loss_is_finite_where_a_score_is_wrong_and_certain(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    nlp = request.getfixturevalue(fixture)
    scores = np.array([[0.0, 1.0, 0.0]], dtype="f")
    loss, gradient = nlp.get_pipe("trf_textcat").get_loss(with_cats(nlp, one_hot(0)), scores)
    assert 5 < loss < 20
    assert np.isfinite(gradient).all()


def test_a_batch_without_labels_has_no_loss(multilabel: Language) -> None:
    scores = np.full((2, 3), 0.5, dtype="f")
    loss, gradient = multilabel.get_pipe("trf_textcat").get_loss(
        with_cats(multilabel, {}, {}), scores
    )
    assert loss == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_the_gradient_reaches_the_docs_as_by_autograd(
    tiny_bert: Path, architecture: str, exclusive_classes: bool
) -> None:
    nlp = make(tiny_bert, architecture=architecture, exclusive_classes=exclusive_classes)
    textcat = nlp.get_pipe("trf_textcat")
    examples = with_cats(nlp, *map(one_hot, (0, 1, 2, 0)))
    nlp.get_pipe("trf_wordpiecer").update(examples)
    nlp.get_pipe("trf_tok2vec").update(examples)
    docs = [eg.predicted for eg in examples]
    pooled = architecture == POOLER_OUTPUT
    name = "trf_pooler_output" if pooled else "trf_last_hidden_state"
    rows = [torch.tensor(doc._.get(name), requires_grad=True) for doc in docs]
    features = []
    for doc, each in zip(docs, rows, strict=True):
        firsts = np.cumsum([0, *doc._.trf_segments[:, 2]])[:-1]
        chosen = each[firsts] if architecture == CLASS_VECTOR else each
        features.append(chosen.mean(0) if len(chosen) else torch.zeros(each.shape[1]))
    output = textcat.model.get_ref("output_layer")
    W, b = (torch.tensor(output.get_param(each), requires_grad=True) for each in "Wb")
    logits = torch.stack(features) @ W.T + b
    targets = torch.tensor([0, 1, 2, 0])
    if exclusive_classes:
        expected = functional.cross_entropy(logits, targets)
    else:
        truths = functional.one_hot(targets, 3).float()
        expected = functional.binary_cross_entropy_with_logits(logits, truths)
    expected.backward()

    losses = textcat.update(examples, losses={})
    assert losses["trf_textcat"] == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(output.get_grad("W"), W.grad, atol=1e-5)
    np.testing.assert_allclose(output.get_grad("b"), b.grad, atol=1e-6)
    for doc, each in zip(docs, rows, strict=True):
        gradient = doc._.get(name.replace("trf_", "trf_d_"))
        if len(doc):
            np.testing.assert_allclose(gradient, each.grad, atol=1e-6)
        else:
            assert not gradient.any()


# --- what an encoder can't serve ---


@pytest.mark.parametrize(
    ("encoder", "architecture", "lacks", "works", "fails"),
    [
        ("tiny_gpt2", CLASS_VECTOR, "class token", [LAST_HIDDEN], [CLASS_VECTOR, POOLER_OUTPUT]),
        ("tiny_gpt2", POOLER_OUTPUT, "pooler", [LAST_HIDDEN], [CLASS_VECTOR, POOLER_OUTPUT]),
        (
            "tiny_bert_without_pooler",
            POOLER_OUTPUT,
            "pooler",
            [LAST_HIDDEN, CLASS_VECTOR],
            [POOLER_OUTPUT],
        ),
    ],
)
def test_an_architecture_that_the_encoder_cannot_serve(
    request: pytest.FixtureRequest,
    encoder: str,
    architecture: str,
    lacks: str,
    works: list[str],
    fails: list[str],
) -> None:
    path = request.getfixturevalue(encoder)
    with pytest.raises(PipelineError, match=f"{architecture}: this encoder has no .*{lacks}") as e:
        make(path, architecture=architecture)
    assert e.value.hint is not None
    assert all(name in e.value.hint for name in works)
    assert not any(name in e.value.hint for name in fails)
    for name in works:
        assert make(path, architecture=name)("I love it").cats.keys() == set(LABELS)


def test_an_unknown_architecture() -> None:
    with pytest.raises(PipelineError, match="cnn: no such architecture") as caught:
        spacy.blank("xx").add_pipe("trf_textcat", config={"architecture": "cnn"})
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in ARCHITECTURES)


def test_the_encoder_has_to_be_there() -> None:
    nlp = spacy.blank("xx")
    textcat = nlp.add_pipe("trf_textcat")
    textcat.add_label("A")
    with pytest.raises(PipelineError, match="has no trf_tok2vec"):
        nlp.initialize()


def test_activations_have_to_be_there(exclusive: Language) -> None:
    with pytest.raises(PipelineError, match="has no token vectors"):
        exclusive.get_pipe("trf_textcat")(exclusive.make_doc("I love it"))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architecture": CLASS_VECTOR}, "last_hidden_state"),
        ({"architecture": POOLER_OUTPUT}, "pooler_output"),
        ({"architecture": LAST_HIDDEN, "pooling": "max"}, "last_hidden_state"),
    ],
)
def test_an_architecture_needs_what_it_reads_to_be_kept(
    tiny_bert: Path, config: dict[str, str], kind: str
) -> None:
    with pytest.raises(PipelineError, match=f"trf_tok2vec doesn't keep the {kind}") as caught:
        make(tiny_bert, keep="tensor", **config)
    assert f'keep = ["{kind}"]' in caught.value.hint
    assert make(tiny_bert, keep=[kind], **config)("I love it").cats.keys() == set(LABELS)


def test_the_default_architecture_needs_token_vectors_only(tiny_bert: Path) -> None:
    every, few = make(tiny_bert), make(tiny_bert, keep="tensor")
    for one, other in zip(every.pipe(TEXTS), few.pipe(TEXTS), strict=True):
        assert one.cats == other.cats
        assert other._.trf_last_hidden_state is None


# --- labels ---


def test_labels_come_from_the_examples(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(name)
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    assert not textcat.is_initialized
    nlp.initialize(lambda: with_cats(nlp, {"B": 1.0, "A": 0.0}, {"C": 1.0}))
    assert textcat.is_initialized
    assert textcat.labels == ("B", "A", "C")
    assert nlp("I love it").cats.keys() == {"A", "B", "C"}


def test_a_label_is_added_once(tiny_bert: Path) -> None:
    textcat = TransformersTextCategorizer(spacy.blank("xx").vocab)
    assert textcat.add_label("A") == 1
    assert textcat.add_label("A") == 0
    assert textcat.add_label("B") == 1
    assert textcat.labels == ("A", "B")
    with pytest.raises(ValueError, match="label"):
        textcat.add_label(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("exclusive_classes", "labels"), [(True, ["A"]), (True, []), (False, [])])
def test_too_few_labels_are_an_error(
    tiny_bert: Path, exclusive_classes: bool, labels: list[str]
) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(name)
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": exclusive_classes})
    for label in labels:
        textcat.add_label(label)
    with pytest.raises(DataError, match=f"{len(labels)} labels, but it takes at least"):
        nlp.initialize()


@pytest.mark.parametrize(
    ("fixture", "cats", "message"),
    [
        ("exclusive", {"FRUIT": 1.0, "DOG": 1.0}, "several of them hold"),
        ("exclusive", {"FRUIT": 2.0}, "numbers from 0 to 1"),
        ("multilabel", {"FRUIT": -1.0}, "numbers from 0 to 1"),
        ("multilabel", {"FRUIT": float("nan")}, "numbers from 0 to 1"),
    ],
)
def test_impossible_cats_are_an_error(
    request: pytest.FixtureRequest, fixture: str, cats: dict[str, float], message: str
) -> None:
    nlp = request.getfixturevalue(fixture)
    with pytest.raises(DataError, match=message):
        nlp.update(with_cats(nlp, cats), sgd=make_optimizer())


def test_an_unknown_positive_label_is_an_error(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=True)
    textcat = nlp.get_pipe("trf_textcat")
    with pytest.raises(DataError, match="CAT: the positive label is none of"):
        textcat.initialize(None, nlp=nlp, positive_label="CAT")
    with pytest.raises(PipelineError, match="needs the pipeline"):
        textcat.initialize(None)


# --- training and scoring ---


@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_it_learns_together_with_the_encoder(tiny_bert: Path, exclusive_classes: bool) -> None:
    fix_random_seed(0)
    nlp = make(tiny_bert, "FRUIT", "FILM", weights=False, exclusive_classes=exclusive_classes)
    before = nlp.get_pipe("trf_tok2vec").to_bytes()
    data = {
        "apple pie is delicious": "FRUIT",
        "apple shares rose": "FRUIT",
        "I love apple": "FRUIT",
        "this film is great fun": "FILM",
        "I hate this film": "FILM",
        "film is a bore": "FILM",
    }
    examples = [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {each: float(each == label) for each in ("FRUIT", "FILM")}}
        )
        for text, label in data.items()
    ]
    optimizer = make_optimizer(learn_rate=0.02, trf_lr=0.005)
    losses = []
    for _ in range(30):
        losses.append(nlp.update(examples, sgd=optimizer, drop=0.1)["trf_textcat"])
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]
    for text, label in data.items():
        cats = nlp(text).cats
        assert {each for each, score in cats.items() if score > 0.5} == {label}
    scores = nlp.evaluate(examples)
    assert scores["cats_macro_f"] == 1.0
    assert scores["cats_score"] == 1.0
    assert nlp.get_pipe("trf_tok2vec").to_bytes() != before


def test_losses_add_up(exclusive: Language) -> None:
    examples = with_cats(exclusive, one_hot(0), one_hot(1))
    losses = exclusive.update(examples, sgd=False)
    once = losses["trf_textcat"]
    exclusive.update(examples, sgd=False, losses=losses)
    assert losses["trf_textcat"] == pytest.approx(2 * once, rel=1e-5)
    exclusive.get_pipe("trf_tok2vec").complete_update()


def test_the_threshold_decides_what_is_predicted(tiny_bert: Path) -> None:
    found = []
    for threshold in (0.0, 0.9999):
        nlp = make(tiny_bert, weights=False, exclusive_classes=False, threshold=threshold)
        scores = nlp.evaluate(with_cats(nlp, one_hot(0), one_hot(1)))
        found.append(scores["cats_micro_r"])
    assert found == [1.0, 0.0]


# --- thresholds ---


def test_thresholds_of_single_labels(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False, threshold=0.4)
    textcat = nlp.get_pipe("trf_textcat")
    assert textcat.thresholds == {}
    examples = with_cats(nlp, *map(one_hot, (0, 1, 2)))
    plain = nlp.evaluate(examples)
    docs = list(nlp.pipe(TEXTS[:3]))
    # Each of these lies between the first and the second score of its label.
    chosen = {
        label: round(float(np.mean(sorted(doc.cats[label] for doc in docs)[:2])), 6)
        for label in ("FRUIT", "FILM")
    }
    textcat.thresholds = chosen
    scores = nlp.evaluate(examples)
    for index, label in enumerate(LABELS):
        threshold = chosen.get(label, 0.4)
        said = [doc.cats[label] >= threshold for doc in docs]
        tp = int(said[index])
        found = scores["cats_f_per_type"][label]
        assert found["p"] == (tp / sum(said) if any(said) else 0.0)
        assert found["r"] == tp
    assert scores["cats_macro_auc"] == plain["cats_macro_auc"]
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("trf_textcat").thresholds == pytest.approx(chosen)
    assert (
        again.evaluate(with_cats(again, *map(one_hot, (0, 1, 2))))["cats_f_per_type"]
        == (scores["cats_f_per_type"])
    )


def test_a_score_at_its_threshold_counts(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=False)
    textcat = nlp.get_pipe("trf_textcat")
    cats = nlp(TEXTS[0]).cats
    truth = dict.fromkeys(LABELS, 1.0)
    for shift, recall in ((0.0, 1.0), (1e-6, 0.0)):
        textcat.thresholds = {label: score + shift for label, score in cats.items()}
        assert nlp.evaluate(with_cats(nlp, truth))["cats_micro_r"] == recall


@pytest.mark.parametrize("values", [{"CAT": 0.5}, {"DOG": 0.0}, {"DOG": 1.0}, {"DOG": -1}])
def test_impossible_thresholds_are_an_error(multilabel: Language, values: dict[str, float]) -> None:
    textcat = multilabel.get_pipe("trf_textcat")
    with pytest.raises(PipelineError, match="thresholds"):
        textcat.thresholds = values
    assert textcat.thresholds == {}


def test_thresholds_mean_nothing_for_exclusive_labels(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=True)
    examples = with_cats(nlp, *map(one_hot, (0, 1, 2)))
    before = nlp.evaluate(examples)
    nlp.get_pipe("trf_textcat").thresholds = {"DOG": 0.999}
    after = nlp.evaluate(examples)
    assert after["cats_f_per_type"] == before["cats_f_per_type"]


# --- class weights and focal loss (the losses themselves are tested in test_losses.py) ---


@pytest.mark.parametrize("exclusive_classes", [True, False])
@pytest.mark.parametrize("config", [{"class_weights": {"DOG": 5.0}}, {"focal_gamma": 2.0}])
def test_the_loss_follows_the_settings(
    tiny_bert: Path, exclusive_classes: bool, config: dict[str, Any]
) -> None:
    plain = make(tiny_bert, exclusive_classes=exclusive_classes).get_pipe("trf_textcat")
    nlp = make(tiny_bert, exclusive_classes=exclusive_classes, **config)
    examples = with_cats(nlp, one_hot(0), one_hot(1))
    scores = np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], dtype="f")
    loss, gradient = nlp.get_pipe("trf_textcat").get_loss(examples, scores)
    plain_loss, plain_gradient = plain.get_loss(examples, scores)
    if "class_weights" in config:
        n = 2 if exclusive_classes else 6
        assert loss == pytest.approx(plain_loss - 4 * np.log(0.3) / n, rel=1e-5)
        np.testing.assert_allclose(gradient[0], plain_gradient[0], rtol=1e-6)
        assert (np.abs(gradient[1]) >= np.abs(plain_gradient[1])).all()
        assert gradient[1, 1] == pytest.approx(5 * plain_gradient[1, 1], rel=1e-5)
    else:
        assert 0 < loss < plain_loss
        assert not np.allclose(gradient, plain_gradient)


def test_class_weights_of_unknown_labels_are_an_error(tiny_bert: Path) -> None:
    with pytest.raises(PipelineError, match="class_weights names CAT, which is no label") as e:
        make(tiny_bert, class_weights={"CAT": 2.0})
    assert all(label in e.value.hint for label in LABELS)


# --- saving and loading ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("way", ["disk", "bytes"])
def test_a_saved_classifier_predicts_the_same(
    tiny_bert: Path, tmp_path: Path, architecture: str, way: str
) -> None:
    nlp = make(tiny_bert, architecture=architecture, exclusive_classes=True)
    if way == "disk":
        nlp.to_disk(tmp_path)
        again = spacy.load(tmp_path)
    else:
        again = TransformersLanguage.from_config(nlp.config).from_bytes(nlp.to_bytes())
    textcat = again.get_pipe("trf_textcat")
    assert textcat.labels == LABELS
    assert textcat.cfg == nlp.get_pipe("trf_textcat").cfg
    assert textcat.exclusive_classes
    for one, other in zip(nlp.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert one.cats == other.cats


def test_settings_are_in_the_config_and_saved(tiny_bert: Path, tmp_path: Path) -> None:
    settings = {"pooling": "attention", "class_weights": {"DOG": 5.0}, "focal_gamma": 2.0}
    nlp = make(tiny_bert, exclusive_classes=True, **settings)
    config = nlp.get_pipe_config("trf_textcat")
    assert {key: config[key] for key in settings} == settings
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("trf_textcat").cfg == nlp.get_pipe("trf_textcat").cfg
    for one, other in zip(nlp.pipe(TEXTS), again.pipe(TEXTS), strict=True):
        assert one.cats == other.cats


def test_model_makes_a_classifier() -> None:
    model = TransformersTextCategorizer.Model(3, 16, exclusive_classes=True)
    assert model.get_ref("output_layer").get_param("W").shape == (3, 16)
    assert model.has_ref("features")
