import json

import numpy as np
import pytest

from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction
from trfcli_pipeline.evaluation.promises import Promise, SelectiveEvaluation


def evaluate(
    tops: list[float], n_wrong: int, fitted: FittedAbstention | None
) -> SelectiveEvaluation:
    """Texts of two labels, whose answers have these confidences; the first ones are wrong."""
    scores = np.array([[top, 1 - top] for top in tops])
    gold = np.array([[0.0, 1.0]] * n_wrong + [[1.0, 0.0]] * (len(tops) - n_wrong))
    texts = np.arange(len(tops))
    return SelectiveEvaluation(
        EvalPrediction(("A", "B"), True, np.full(2, 0.5), texts, gold, scores), fitted
    )


def make_fitted(least: float | None, threshold: float = 0.3) -> FittedAbstention:
    return FittedAbstention(Abstention(1.0, least, threshold), Aim(), 500, 0.75, 0.97, 0.95, 1.5)


def test_what_was_kept() -> None:
    found = evaluate([0.6, 0.9, 0.9, 0.8], 1, make_fitted(0.7))
    assert found.coverage is not None
    assert found.accuracy is not None
    assert found.set_coverage is not None
    assert (found.coverage.promised, found.coverage.found) == (0.75, 0.75)
    assert (found.accuracy.promised, found.accuracy.found) == (0.95, 1.0)
    # The wrong answer's set has both labels.
    assert (found.set_coverage.found, found.set_size) == (1.0, 1.25)
    assert found.curve.area == pytest.approx(0.25 * 0.25)
    plain = found.as_json()
    assert plain is not None
    assert plain["accuracy"]["verdict"] == "kept"
    json.dumps(plain, allow_nan=False)


def test_nothing_fitted() -> None:
    found = evaluate([0.6, 0.9], 1, None)
    assert (found.coverage, found.accuracy, found.set_coverage, found.as_json()) == (None,) * 4
    assert found.accuracies["1"] == 0.5


def test_no_threshold_or_no_answer() -> None:
    found = evaluate([0.6, 0.9], 1, make_fitted(None)._replace(coverage=None))
    assert (found.coverage, found.accuracy) == (None, None)
    assert found.set_coverage is not None
    found = evaluate([0.6, 0.9], 1, make_fitted(0.95))
    assert found.coverage is not None
    assert (found.coverage.found, found.accuracy) == (0.0, None)


@pytest.mark.parametrize(
    ("found", "interval", "verdict"),
    [(0.97, (0.9, 0.99), "kept"), (0.94, (0.9, 0.96), "chance"), (0.9, (0.85, 0.94), "broken")],
)
def test_verdicts(found: float, interval: tuple[float, float], verdict: str) -> None:
    assert Promise(0.95, found, interval).verdict == verdict
