from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import GOLD, LABELS, PREDICTED

from trfcli_pipeline.evaluation.calibration import Bin, calibration_error, reliability
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction


def exclusive_prediction() -> EvalPrediction:
    """One confidence in each of (0.5, 0.6], (0.6, 0.7] and (0.7, 0.8], and two in (0.9, 1.0]."""
    return EvalPrediction.from_cats(GOLD, PREDICTED, LABELS, exclusive=True)


def test_bins_computed_by_hand() -> None:
    bins = reliability(exclusive_prediction())
    assert [each.n for each in bins] == [0, 0, 0, 0, 0, 1, 1, 1, 0, 2]
    assert bins[9] == Bin(0.9, 1.0, 2, confidence=pytest.approx(0.95), accuracy=1.0)
    assert bins[5] == Bin(0.5, 0.6, 1, confidence=pytest.approx(0.55), accuracy=0.0)
    assert bins[0] == Bin(0.0, 0.1, 0, confidence=0.0, accuracy=0.0)


def test_error_computed_by_hand() -> None:
    error = calibration_error(reliability(exclusive_prediction()))
    assert error == pytest.approx((0.55 + 0.65 + 0.25 + 2 * 0.05) / 5)


def test_multi_label_error_computed_by_hand() -> None:
    gold: list[Mapping[str, float]] = [
        {"A": 1.0, "B": 1.0, "C": 0.0},
        {"A": 1.0, "B": 0.0},
        {"C": 1.0, "B": 0.0},
    ]
    predicted = [
        {"A": 0.9, "B": 0.1, "C": 0.6},
        {"A": 0.5, "B": 0.2, "C": 0.99},
        {"A": 0.9, "B": 0.3, "C": 0.45},
    ]
    # Confidences, + if correct: 0.9+ 0.9- 0.6- / 0.5+ 0.8+ / 0.7+ 0.55-
    # Number correct and sum of confidences in each bin:
    bins = [(1, 1.8), (0, 0.6 + 0.55), (1, 0.5), (1, 0.8), (1, 0.7)]
    error = calibration_error(
        reliability(EvalPrediction.from_cats(gold, predicted, "ABC", exclusive=False))
    )
    assert error == pytest.approx(sum(abs(n - c) for n, c in bins) / 7)


def test_confidence_of_a_label_depends_on_its_threshold() -> None:
    prediction = EvalPrediction.from_cats(
        [{"A": 1.0}], [{"A": 0.3}], "A", exclusive=False, threshold=0.2
    )
    assert calibration_error(reliability(prediction)) == pytest.approx(0.7)


def test_calibrated_scores_have_no_error() -> None:
    gold = [{"A": float(i < 3)} for i in range(4)]
    prediction = EvalPrediction.from_cats(gold, [{"A": 0.75}] * 4, "A", exclusive=False)
    assert calibration_error(reliability(prediction)) == 0.0


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 1.0, width=32)), min_size=1, max_size=40),
    st.integers(1, 20),
)
@settings(max_examples=50)
def test_every_prediction_is_in_exactly_one_bin(pairs: list[tuple[bool, float]], bins: int) -> None:
    gold = [{"A": float(applies)} for applies, _ in pairs]
    predicted = [{"A": score} for _, score in pairs]
    found = reliability(EvalPrediction.from_cats(gold, predicted, "A", exclusive=False), bins=bins)
    assert len(found) == bins
    assert sum(each.n for each in found) == len(pairs)
    for each in found:
        if each.n:
            assert each.low - 1e-9 <= each.confidence <= each.high + 1e-9
    assert 0.0 <= calibration_error(found) <= 1.0
