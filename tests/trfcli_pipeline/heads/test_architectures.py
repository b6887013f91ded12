from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import catalogue
import numpy as np
import pytest
from spacy import registry
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Dropout, Linear, Model, chain, reduce_mean, set_dropout_rate

import trfcli_pipeline  # noqa: F401  (registers the attributes)
from trfcli_pipeline.encoder.activations import KINDS
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.architectures import (
    CLASSIFIERS,
    POOLINGS,
    bind_encoder,
    kinds_read,
    make_classifier,
)
from trfcli_pipeline.heads.doc_features import pooler_outputs

WIDTH = 4
CLASS_ID = 101
FEATURES = {
    "trfcli.SoftmaxLastHidden.v1": "trf_mean_last_hidden",
    "trfcli.SoftmaxClassVector.v1": "trf_class_vectors>>reduce_mean",
    "trfcli.SoftmaxPoolerOutput.v1": "trf_pooler_outputs>>reduce_mean",
}
TOKEN_VECTORS = "trfcli.TokenVectors.v1"
OURS = [
    each
    for each in entry_points(group="spacy_architectures")
    if each.name.startswith("trfcli.") and each.name != TOKEN_VECTORS
]


def make_docs(*lengths: list[int]) -> list[Doc]:
    """Create Docs with sentences of a single token and the given numbers of wordpieces."""
    rng = np.random.default_rng(0)
    docs = []
    for doc_lengths in lengths or ([3], [2]):
        doc = Doc(Vocab(), words=["word"] * len(doc_lengths))
        doc._.trf_word_pieces = [CLASS_ID + i for n in doc_lengths for i in range(n)]
        doc._.trf_segments = np.array(
            [(i, i + 1, n) for i, n in enumerate(doc_lengths)], "i"
        ).reshape(-1, 3)
        doc._.trf_last_hidden_state = rng.normal(size=(sum(doc_lengths), WIDTH)).astype("f")
        doc._.trf_pooler_output = rng.normal(size=(len(doc_lengths), WIDTH)).astype("f")
        doc._.trf_segment_sums = segment_sums(doc)
        docs.append(doc)
    return docs


def segment_sums(doc: Doc) -> np.ndarray:
    return np.array([each.sum(axis=0) for each in sentences(doc)], "f").reshape(-1, WIDTH)


def sentences(doc: Doc) -> list[np.ndarray]:
    """Return the rows of each sentence."""
    if not len(doc):
        return []
    ends = np.cumsum(doc._.trf_segments[:, 2])
    return np.split(doc._.trf_last_hidden_state, ends[:-1])


def make(name: str, **options: Any) -> Model:
    model = make_classifier(name, **{"exclusive_classes": True, "nO": 3, "nI": WIDTH, **options})
    for layer in model.walk():
        if "class_token_id" in layer.attrs:
            layer.attrs["class_token_id"] = CLASS_ID
    return model.initialize()


def set_weights(model: Model) -> None:
    shape = model.get_ref("output_layer").get_param("W").shape
    weights = np.random.default_rng(1).normal(size=shape).astype("f")
    model.get_ref("output_layer").set_param("W", weights)


def test_every_short_name_has_an_entry_point() -> None:
    assert sorted(each.name for each in OURS) == sorted(CLASSIFIERS.values())


@pytest.mark.parametrize("entry_point", OURS, ids=[each.name for each in OURS])
def test_every_entry_point_creates_the_registered_architecture(entry_point: Any) -> None:
    make_model: Callable[..., Model] = entry_point.load()
    assert registry.architectures.get(entry_point.name) is make_model
    model = make_model(exclusive_classes=True, nO=3, nI=WIDTH)
    assert model.get_ref("output_layer").get_dim("nO") == 3
    assert model.get_ref("output_layer").get_dim("nI") == WIDTH
    assert model.get_ref("features").name == FEATURES[entry_point.name]


@pytest.mark.parametrize("entry_point", OURS, ids=[each.name for each in OURS])
def test_every_entry_point_works_in_a_config(entry_point: Any) -> None:
    config = {"model": {"@architectures": entry_point.name, "exclusive_classes": False}}
    model = registry.resolve(config)["model"]
    assert isinstance(model, Model)
    assert model.get_ref("output_layer").has_dim("nO") is None


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_an_untrained_classifier_scores_all_classes_equally(name: str) -> None:
    assert make(name).predict(make_docs()) == pytest.approx(np.full((2, 3), 1 / 3))
    scores = make(name, exclusive_classes=False).predict(make_docs())
    assert scores == pytest.approx(np.full((2, 3), 0.5))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_are_probabilities_of_the_features(name: str, exclusive: bool) -> None:
    model = make(name, exclusive_classes=exclusive)
    set_weights(model)
    docs = make_docs()
    features = {
        "softmax_last_hidden": [doc._.trf_last_hidden_state.mean(axis=0) for doc in docs],
        "softmax_class_vector": [doc._.trf_last_hidden_state[0] for doc in docs],
        "softmax_pooler_output": [doc._.trf_pooler_output[0] for doc in docs],
    }[name]
    logits = np.stack(features) @ model.get_ref("output_layer").get_param("W").T
    expected = 1 / (1 + np.exp(-logits))
    if exclusive:
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(docs), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_dropout_applies_only_in_training(name: str) -> None:
    model = make(name)
    set_weights(model)
    docs = make_docs()
    predicted = model.predict(docs)
    np.testing.assert_array_equal(model.begin_update(docs)[0], predicted)
    set_dropout_rate(model, 0.9)
    assert not np.array_equal(model.begin_update(docs)[0], predicted)
    np.testing.assert_array_equal(model.predict(docs), predicted)


@pytest.mark.parametrize(("short", "registered"), CLASSIFIERS.items())
def test_short_and_registered_names_mean_the_same(short: str, registered: str) -> None:
    assert make(short).name == make(registered).name
    assert make(short).get_ref("features").name == make(registered).get_ref("features").name


def register(monkeypatch: pytest.MonkeyPatch, make_theirs: Callable[..., Model]) -> str:
    name = "test.Theirs.v1"
    monkeypatch.setitem(catalogue.REGISTRY, (*registry.architectures.namespace, name), make_theirs)
    return name


def test_an_architecture_of_another_package_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_theirs(exclusive_classes: bool, pooling: str, nO: int | None, nI: int | None) -> Model:
        features, output = chain(pooler_outputs(), reduce_mean()), Linear(nO, nI)
        model = chain(features, output)
        model.set_ref("features", features)
        model.set_ref("output_layer", output)
        return model

    model = make_classifier(register(monkeypatch, make_theirs), True, nO=5, nI=7)
    output = model.get_ref("output_layer")
    assert (output.get_dim("nO"), output.get_dim("nI")) == (5, 7)


@pytest.mark.parametrize("name", ["spacy.TextCatBOW.v3", "spacy.TextCatEnsemble.v2", TOKEN_VECTORS])
def test_an_architecture_of_another_kind_is_an_error(name: str) -> None:
    with pytest.raises(PipelineError, match=f"{name}: not an architecture for trf_textcat") as e:
        make_classifier(name, True)
    assert all(known in e.value.hint for known in CLASSIFIERS)


def test_an_architecture_without_the_required_references_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make_theirs(**options: Any) -> Model:
        return Linear(options["nO"], options["nI"])

    with pytest.raises(PipelineError, match="no reference to features and output_layer"):
        make_classifier(register(monkeypatch, make_theirs), True, nO=5, nI=7)


# --- pooling over segments ---


def test_an_unknown_pooling_is_an_error_that_lists_the_known_ones() -> None:
    for name in CLASSIFIERS:
        with pytest.raises(PipelineError, match="median: no such pooling") as caught:
            make_classifier(name, True, "median")
        assert all(known in caught.value.hint for known in POOLINGS)


@pytest.mark.parametrize("pooling", ["max", "attention"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_segments_are_pooled(name: str, pooling: str) -> None:
    docs = make_docs([3, 1, 2], [2])
    model = make(name, pooling=pooling)
    found = model.get_ref("features").predict(docs)
    for doc, row in zip(docs, found, strict=True):
        vectors = {
            "softmax_last_hidden": np.stack([each.mean(axis=0) for each in sentences(doc)]),
            "softmax_class_vector": np.stack([each[0] for each in sentences(doc)]),
            "softmax_pooler_output": doc._.trf_pooler_output,
        }[name]
        if pooling == "max":
            expected = vectors.max(axis=0)
        else:
            weights = np.exp(
                vectors @ model.get_ref("features").get_ref("attention").get_param("Q")
            )
            expected = weights @ vectors / weights.sum()
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_gradients_equal_finite_differences(name: str, pooling: str) -> None:
    """Check activations and parameters, through the whole classifier up to the logits."""
    docs = make_docs([3, 1, 2], [], [2])
    model = make(name, pooling=pooling)
    set_weights(model)
    read = {
        "softmax_last_hidden": "trf_segment_sums",
        "softmax_class_vector": "trf_last_hidden_state",
        "softmax_pooler_output": "trf_pooler_output",
    }[name]
    d_read = read.replace("trf_", "trf_d_")
    weights = np.random.default_rng(2).normal(size=(3, 3)).astype("f")
    logits = model.layers[0]
    assert logits.layers[-1] is model.get_ref("output_layer")

    def loss() -> float:
        return float((logits.predict(docs).astype("float64") * weights).sum())

    for doc in docs:
        doc._.set(d_read, np.zeros_like(doc._.get(read)))
    _, backprop = logits.begin_update(docs)
    backprop(weights)
    for doc in docs:
        assert_gradient(loss, doc._.get(read), doc._.get(d_read))
    assert docs[0]._.get(d_read).any()
    features = model.get_ref("features")
    if features.has_ref("attention"):
        attention = features.get_ref("attention")
        assert_gradient(loss, attention.get_param("Q"), attention.get_grad("Q"))
        assert attention.get_grad("Q").any()


def assert_gradient(loss: Callable[[], float], values: np.ndarray, gradient: np.ndarray) -> None:
    """Compare with central differences, changing one value at a time in place."""
    step = 1e-2
    for index in np.ndindex(values.shape):
        before = values[index]
        values[index] = before + step
        above = loss()
        values[index] = before - step
        below = loss()
        values[index] = before
        assert gradient[index] == pytest.approx((above - below) / (2 * step), abs=2e-3)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_batch_of_empty_docs_has_no_features(name: str, pooling: str) -> None:
    features = make(name, pooling=pooling).get_ref("features")
    assert features.predict(make_docs([], [])).tolist() == [[0.0] * WIDTH] * 2


def test_the_width_can_be_set_later() -> None:
    model = make_classifier("softmax_last_hidden", True, "attention", nO=3)
    bind_encoder(
        model,
        "softmax_last_hidden",
        width=WIDTH,
        class_token_id=None,
        has_pooler=False,
        kept={"last_hidden_state"},
    )
    model.initialize()
    assert model.predict(make_docs()).shape == (2, 3)


# --- token vectors ---


def test_token_vectors_have_an_entry_point() -> None:
    (entry_point,) = entry_points(group="spacy_architectures", name=TOKEN_VECTORS)
    assert entry_point.load() is registry.architectures.get(TOKEN_VECTORS)
    model = registry.resolve({"model": {"@architectures": TOKEN_VECTORS}})["model"]
    assert model.has_dim("nO") is None


@pytest.mark.parametrize("name", ["softmax", "", "trfcli.SoftmaxLastHidden.v0"])
def test_an_unknown_architecture_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(PipelineError, match="no such architecture") as caught:
        make_classifier(name, True)
    assert caught.value.message.startswith(f"{name}: ")
    assert all(known in caught.value.hint for known in CLASSIFIERS)


def test_classifiers_say_what_they_read() -> None:
    read = {name: kinds_read(make_classifier(name, exclusive_classes=True)) for name in CLASSIFIERS}
    assert read == {
        "softmax_last_hidden": {"segment_sums"},
        "softmax_class_vector": {"segment_sums", "last_hidden_state"},
        "softmax_pooler_output": {"segment_sums", "pooler_output"},
    }
    by_segment = make_classifier("softmax_last_hidden", exclusive_classes=True, pooling="max")
    assert kinds_read(by_segment) == {"segment_sums"}
    # Those of other people may read anything, whatever they are made of.
    assert kinds_read(chain(by_segment, Dropout())) == {*KINDS, "tensor"}
