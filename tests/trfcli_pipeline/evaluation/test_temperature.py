import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction
from trfcli_pipeline.evaluation.temperature import calibrate, fit_temperature


def make_prediction(logits: np.ndarray, gold: np.ndarray, *, exclusive: bool) -> EvalPrediction:
    scores = softmax(logits, axis=1) if exclusive else 1 / (1 + np.exp(-logits))
    labels = tuple(f"L{number}" for number in range(logits.shape[1]))
    return EvalPrediction(
        labels, exclusive, np.full(len(labels), 0.5), np.arange(len(scores)), gold, scores
    )


def test_softmax_divided_by_hand() -> None:
    # The logits are log 4 and log 1: half of them are log 2 and log 1.
    found = calibrate(np.array([[0.8, 0.2]]), 2.0, exclusive=True)
    assert found == pytest.approx(np.array([[2 / 3, 1 / 3]]))


def test_sigmoid_divided_by_hand() -> None:
    # The logits are log 4 and 0.
    found = calibrate(np.array([[0.8, 0.5]]), 2.0, exclusive=False)
    assert found == pytest.approx(np.array([[2 / 3, 0.5]]))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_scores_of_0_and_1_stay_finite(exclusive: bool, temperature: float) -> None:
    found = calibrate(np.array([[0.0, 1.0], [1.0, 0.0]]), temperature, exclusive=exclusive)
    assert np.isfinite(found).all()
    assert (found[0, 1], found[1, 0]) == (found.max(), found.max())


@given(arrays(np.float64, (3, 4), elements=st.floats(-8, 8)), st.floats(0.2, 5.0))
def test_order_of_labels_stays(logits: np.ndarray, temperature: float) -> None:
    scores = softmax(logits, axis=1)
    found = calibrate(scores, temperature, exclusive=True)
    assert found.sum(axis=1) == pytest.approx(np.ones(3))
    taken = np.take_along_axis(found, scores.argsort(axis=1), axis=1)
    assert (np.diff(taken, axis=1) >= -1e-9).all()


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_finds_the_temperature_of_the_gold_labels(exclusive: bool, true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 3))
    if exclusive:
        probabilities = softmax(logits / true, axis=1)
        gold = np.eye(3)[[rng.choice(3, p=each) for each in probabilities]]
    else:
        gold = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits / true))).astype(float)
    prediction = make_prediction(logits, gold, exclusive=exclusive)
    assert fit_temperature(prediction) == pytest.approx(true, rel=0.1)


def test_unknown_labels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 2))
    gold = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    partly = np.concatenate([gold, np.full((500, 2), np.nan)])
    partly[500:, 0] = gold[:, 0]
    known = np.concatenate([gold[:, :1], gold[:, 1:]], axis=1)
    both = np.concatenate([logits, np.stack([logits[:, 0], np.full(500, 50.0)], axis=1)])
    found = fit_temperature(make_prediction(both, partly, exclusive=False))
    # The wrong logits of 50 would need a high temperature if they counted.
    assert found == pytest.approx(
        fit_temperature(make_prediction(logits, known, exclusive=False)), rel=0.2
    )
