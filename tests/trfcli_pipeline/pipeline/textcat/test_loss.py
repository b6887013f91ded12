"""The loss and its gradient, compared with torch; see test_losses.py for the focal term."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language
from textcats import ARCHITECTURES, CLASS_VECTOR, LABELS, POOLER_OUTPUT, make, one_hot, with_cats
from torch.nn import functional

from trfcli_pipeline.errors import PipelineError


def random_logits(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(rows, len(LABELS), generator=generator)


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


def test_a_batch_without_labels_has_no_loss(multilabel: Language) -> None:
    scores = np.full((2, 3), 0.5, dtype="f")
    loss, gradient = multilabel.get_pipe("trf_textcat").get_loss(
        with_cats(multilabel, {}, {}), scores
    )
    assert loss == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("exclusive_classes", [True, False])
def test_gradients_on_the_docs_equal_autograd(
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
    with pytest.raises(PipelineError, match="class_weights names an unknown label: CAT") as e:
        make(tiny_bert, class_weights={"CAT": 2.0})
    assert all(label in e.value.hint for label in LABELS)
