import math
from typing import Any

import numpy as np
import pytest
from labelled import LABELS, Cats, one_hot

from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction


def test_labels_missing_from_a_record_are_unknown() -> None:
    gold: list[Any] = [{"HAM": 1.0, "SPAM": None}, {}, {"ODD": 0.2, "HAM": 0.0}]
    prediction = EvalPrediction.from_cats(gold, [one_hot("HAM")] * 3, LABELS, exclusive=False)
    np.testing.assert_array_equal(prediction.indices, [0, 2])
    nan = math.nan
    np.testing.assert_array_equal(prediction.gold, [[1.0, nan, nan], [0.0, nan, 1.0]])
    np.testing.assert_array_equal(prediction.wrong, [[False] * 3, [True, False, True]])
    np.testing.assert_array_equal(prediction.correct, [True, False])


def test_labels_missing_from_a_record_do_not_apply_if_labels_are_exclusive() -> None:
    gold: list[Cats] = [{"HAM": 1.0}, {"HAM": 0.0}, {}, {"HAM": 0.4, "ODD": 0.6}]
    prediction = EvalPrediction.from_cats(gold, [one_hot("HAM")] * 4, LABELS, exclusive=True)
    np.testing.assert_array_equal(prediction.indices, [0, 3])
    np.testing.assert_array_equal(prediction.gold, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_first_label_wins_a_tie() -> None:
    predicted = [dict.fromkeys(LABELS, 1 / 3)]
    prediction = EvalPrediction.from_cats([one_hot("HAM")], predicted, LABELS, exclusive=True)
    np.testing.assert_array_equal(prediction.is_predicted, [[True, False, False]])


def test_threshold_is_inclusive_and_may_differ_between_labels() -> None:
    gold, predicted = [one_hot("HAM")], [dict.fromkeys(LABELS, 0.3)]

    def predicted_with(threshold: Any) -> list[bool]:
        prediction = EvalPrediction.from_cats(
            gold, predicted, LABELS, exclusive=False, threshold=threshold
        )
        found: list[bool] = prediction.is_predicted[0].tolist()
        return found

    assert predicted_with(0.3) == [True, True, True]
    assert predicted_with(0.31) == [False, False, False]
    # A label missing from the mapping has the default of 0.5; an unknown label is ignored.
    assert predicted_with({"HAM": 0.3, "SPAM": 0.31, "MORE": 0.1}) == [True, False, False]


def test_thresholds_do_not_affect_exclusive_labels() -> None:
    predicted = [dict.fromkeys(LABELS, 0.3)]
    prediction = EvalPrediction.from_cats(
        [one_hot("HAM")], predicted, LABELS, exclusive=True, threshold={"HAM": 0.9, "ODD": 0.1}
    )
    np.testing.assert_array_equal(prediction.is_predicted, [[True, False, False]])


@pytest.mark.parametrize(
    ("gold", "exclusive", "message"),
    [
        ([], True, "There are no texts to evaluate"),
        ([{}], True, "No text has a gold label, so there is nothing to score"),
        ([{}], False, "No text has a gold label, so there is nothing to score"),
        ([{"HAM": 0.0}], True, "No text has a gold label, so there is nothing to score"),
        (
            [{"HAM": 1.0}, {"NEW": 1.0}, {"NEW": 0.0}],
            True,
            "Unknown label: 'NEW' (first in text 2)",
        ),
        (
            [{"B": 1.0, "A": 1.0}],
            False,
            "Unknown labels: 'B', 'A' (first in text 1)",
        ),
        ([{"HAM": 1.5}], False, "Text 1: the gold score of 'HAM' is 1.5, not between 0 and 1"),
        ([{"HAM": math.nan}], False, "Text 1: the gold score of 'HAM' is nan, not between 0 and 1"),
        (
            [{"HAM": 1.0}, {"HAM": 1.0, "ODD": 1.0}],
            True,
            "Text 2 has several labels (HAM, ODD), but labels are exclusive",
        ),
    ],
)
def test_bad_gold_labels(gold: list[Cats], exclusive: bool, message: str) -> None:
    with pytest.raises(DataError) as error:
        EvalPrediction.from_cats(gold, [one_hot("HAM")] * len(gold), LABELS, exclusive=exclusive)
    assert error.value.message == message


def test_error_about_an_unknown_label_lists_the_known_ones() -> None:
    labels = [f"L{i}" for i in range(12)]
    with pytest.raises(DataError) as error:
        EvalPrediction.from_cats([{"X": 1.0}], [{"L0": 1.0}], labels, exclusive=True)
    assert (
        error.value.hint
        == "The labels of the text classifier: L0, L1, L2, L3, L4, L5, L6, L7, L8, L9 and 2 more"
    )


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({}, "Text 1: the pipeline predicted no score for any label"),
        ({"OTHER": 1.0}, "Text 1: the pipeline predicted no score for any label"),
        ({"HAM": math.nan}, "Text 1: the predicted score of 'HAM' is nan, not between 0 and 1"),
        ({"HAM": 7.0}, "Text 1: the predicted score of 'HAM' is 7.0, not between 0 and 1"),
    ],
)
def test_bad_predicted_scores(predicted: Cats, message: str) -> None:
    with pytest.raises(PipelineError) as error:
        EvalPrediction.from_cats([one_hot("HAM")], [predicted], LABELS, exclusive=True)
    assert error.value.message == message


def test_inconsistent_arguments() -> None:
    with pytest.raises(ValueError, match="1 texts, but 2 gold records"):
        EvalPrediction.from_cats([{"A": 1.0}] * 2, [{"A": 1.0}], ["A"], exclusive=False)
    for threshold in (2, {"A": 0.5, "B": 2}):
        with pytest.raises(ValueError, match="threshold must be between 0 and 1, not 2"):
            EvalPrediction.from_cats(
                [{"A": 1.0}], [{"A": 1.0}], ["A"], exclusive=False, threshold=threshold
            )
