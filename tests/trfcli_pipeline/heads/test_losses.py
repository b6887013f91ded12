from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trfcli_pipeline.heads.losses import exclusive_loss, multilabel_loss, truth_arrays

quick = settings(max_examples=60)
TEXTS, LABELS = 5, 3


def make_case(seed: int, *, exclusive: bool) -> dict[str, np.ndarray]:
    """Create logits, truths and weights; no label of the last text is known."""
    rng = np.random.default_rng(seed)
    if exclusive:
        truths = np.eye(LABELS)[rng.integers(0, LABELS, TEXTS)]
    else:
        truths = rng.choice([0.0, 1.0, 0.25], (TEXTS, LABELS))
    truths[-1] = 0.0
    known = rng.choice([0.0, 1.0], (TEXTS, LABELS))
    known[-1] = 0.0
    return {
        "logits": 2 * rng.normal(size=(TEXTS, LABELS)),
        "truths": truths,
        "known": known,
        "weights": rng.uniform(0.1, 5.0, LABELS),
    }


def loss_of(case: dict[str, np.ndarray], gamma: float, *, exclusive: bool) -> tuple[float, Any]:
    logits = torch.tensor(case["logits"])
    options = {"weights": case["weights"], "gamma": gamma}
    if exclusive:
        scores = logits.softmax(dim=1).numpy()
        return exclusive_loss(scores, case["truths"], **options)
    return multilabel_loss(logits.sigmoid().numpy(), case["truths"], case["known"], **options)


@quick
@given(st.integers(0, 1000))
def test_the_exclusive_loss_is_torchs_cross_entropy(seed: int) -> None:
    case = make_case(seed, exclusive=True)
    logits = torch.tensor(case["logits"][:-1], requires_grad=True)
    targets = torch.tensor(case["truths"][:-1].argmax(axis=1))
    weights = torch.tensor(case["weights"])
    expected = functional.cross_entropy(logits, targets, weights, reduction="sum") / len(targets)
    expected.backward()
    loss, gradient = loss_of(case, 0.0, exclusive=True)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient[:-1], logits.grad, atol=1e-6)
    assert not gradient[-1].any()


@quick
@given(st.integers(0, 1000))
def test_the_multilabel_loss_is_torchs_binary_cross_entropy(seed: int) -> None:
    case = make_case(seed, exclusive=False)
    logits = torch.tensor(case["logits"], requires_grad=True)
    expected = functional.binary_cross_entropy_with_logits(
        logits,
        torch.tensor(case["truths"]),
        weight=torch.tensor(case["known"]),
        pos_weight=torch.tensor(case["weights"]),
        reduction="sum",
    ) / max(case["known"].sum(), 1)
    expected.backward()
    loss, gradient = loss_of(case, 0.0, exclusive=False)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, logits.grad, atol=1e-6)
    assert not gradient[case["known"] == 0].any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("exclusive", [True, False])
def test_gradients_equal_finite_differences(exclusive: bool, gamma: float) -> None:
    case = make_case(0, exclusive=exclusive)
    _, gradient = loss_of(case, gamma, exclusive=exclusive)
    step = 1e-5
    for index in np.ndindex(TEXTS, LABELS):
        losses = []
        for direction in (1, -1):
            logits = case["logits"].copy()
            logits[index] += direction * step
            losses.append(loss_of({**case, "logits": logits}, gamma, exclusive=exclusive)[0])
        expected = (losses[0] - losses[1]) / (2 * step)
        assert gradient[index] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_focal_term_down_weights_correct_texts(exclusive: bool) -> None:
    case = make_case(0, exclusive=exclusive)
    case["truths"] = case["truths"].round()
    case["weights"][:] = 1.0
    case["known"][:-1] = 1.0
    for sign, right in ((8, True), (-8, False)):
        case["logits"] = sign * (2 * case["truths"] - 1)
        plain, focal = (loss_of(case, gamma, exclusive=exclusive)[0] for gamma in (0.0, 2.0))
        assert (focal < 0.01 * plain) == right


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("exclusive", [True, False])
def test_certain_scores_have_finite_losses(exclusive: bool, gamma: float) -> None:
    case = make_case(0, exclusive=exclusive)
    scores = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype="f")
    truths = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype="f")
    options = {"weights": case["weights"].astype("f"), "gamma": gamma}
    if exclusive:
        loss, gradient = exclusive_loss(scores, truths, **options)
    else:
        loss, gradient = multilabel_loss(scores, truths, np.ones_like(truths), **options)
    assert 0 < loss < 100
    assert np.isfinite(gradient).all()
    assert gradient.dtype == np.float32
    # Certain and correct scores have no gradient.
    np.testing.assert_allclose(gradient[1], 0.0, atol=1e-6)


def test_truths_are_in_the_order_of_the_labels() -> None:
    cats = [{"B": 1.0, "A": 0.25}, {}, {"C": 1.0, "A": 0.0, "X": 1.0}]
    truths, known = truth_arrays(cats, ["A", "B", "C"])
    assert truths.dtype == known.dtype == np.float32
    assert truths.tolist() == [[0.25, 1.0, 0.0], [0.0] * 3, [0.0, 0.0, 1.0]]
    assert known.tolist() == [[1.0, 1.0, 0.0], [0.0] * 3, [1.0, 0.0, 1.0]]
    assert truth_arrays([], ["A", "B"])[0].shape == (0, 2)
