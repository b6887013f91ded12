import math
from typing import Any

import numpy as np
import pytest
from labelled import LABELS, Cats, one_hot

from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.evaluation.eval_prediction import decide


def test_what_a_record_leaves_open_is_unknown() -> None:
    gold: list[Any] = [{"HAM": 1.0, "SPAM": None}, {}, {"ODD": 0.2, "HAM": 0.0}]
    decisions = decide(gold, [one_hot("HAM")] * 3, LABELS, exclusive=False)
    np.testing.assert_array_equal(decisions.indices, [0, 2])
    nan = math.nan
    np.testing.assert_array_equal(decisions.gold, [[1.0, nan, nan], [0.0, nan, 1.0]])
    np.testing.assert_array_equal(decisions.wrong, [[False] * 3, [True, False, True]])
    np.testing.assert_array_equal(decisions.correct, [True, False])


def test_with_exclusive_classes_what_is_left_open_does_not_hold() -> None:
    gold: list[Cats] = [{"HAM": 1.0}, {"HAM": 0.0}, {}, {"HAM": 0.4, "ODD": 0.6}]
    decisions = decide(gold, [one_hot("HAM")] * 4, LABELS, exclusive=True)
    np.testing.assert_array_equal(decisions.indices, [0, 3])
    np.testing.assert_array_equal(decisions.gold, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_of_equal_scores_the_first_label_is_predicted() -> None:
    predicted = [dict.fromkeys(LABELS, 1 / 3)]
    decisions = decide([one_hot("HAM")], predicted, LABELS, exclusive=True)
    np.testing.assert_array_equal(decisions.decided, [[True, False, False]])


def test_threshold_is_inclusive_and_may_differ_by_label() -> None:
    gold, predicted = [one_hot("HAM")], [dict.fromkeys(LABELS, 0.3)]

    def decided(threshold: Any) -> list[bool]:
        decisions = decide(gold, predicted, LABELS, exclusive=False, threshold=threshold)
        found: list[bool] = decisions.decided[0].tolist()
        return found

    assert decided(0.3) == [True, True, True]
    assert decided(0.31) == [False, False, False]
    # A label that isn't mentioned has the default, 0.5; one that isn't known is ignored.
    assert decided({"HAM": 0.3, "SPAM": 0.31, "MORE": 0.1}) == [True, False, False]


def test_thresholds_change_nothing_where_labels_are_exclusive() -> None:
    predicted = [dict.fromkeys(LABELS, 0.3)]
    decisions = decide(
        [one_hot("HAM")], predicted, LABELS, exclusive=True, threshold={"HAM": 0.9, "ODD": 0.1}
    )
    np.testing.assert_array_equal(decisions.decided, [[True, False, False]])


@pytest.mark.parametrize(
    ("gold", "exclusive", "message"),
    [
        ([], True, "There are no texts to evaluate"),
        ([{}], True, "No text has a label, so there is nothing to score"),
        ([{}], False, "No text has a label, so there is nothing to score"),
        ([{"HAM": 0.0}], True, "No text has a label, so there is nothing to score"),
        (
            [{"HAM": 1.0}, {"NEW": 1.0}, {"NEW": 0.0}],
            True,
            "Label 'NEW' isn't among the labels of the text classifier (first in text 2)",
        ),
        (
            [{"B": 1.0, "A": 1.0}],
            False,
            "Labels 'B', 'A' aren't among the labels of the text classifier (first in text 1)",
        ),
        ([{"HAM": 1.5}], False, "Text 1: the score of 'HAM' is 1.5, not from 0 to 1"),
        ([{"HAM": math.nan}], False, "Text 1: the score of 'HAM' is nan, not from 0 to 1"),
        (
            [{"HAM": 1.0}, {"HAM": 1.0, "ODD": 1.0}],
            True,
            "Text 2 has more than one label (HAM, ODD), but the classes are exclusive",
        ),
    ],
)
def test_gold_errors(gold: list[Cats], exclusive: bool, message: str) -> None:
    with pytest.raises(DataError) as error:
        decide(gold, [one_hot("HAM")] * len(gold), LABELS, exclusive=exclusive)
    assert error.value.message == message


def test_unknown_label_error_lists_the_known_ones() -> None:
    labels = [f"L{i}" for i in range(12)]
    with pytest.raises(DataError) as error:
        decide([{"X": 1.0}], [{"L0": 1.0}], labels, exclusive=True)
    assert error.value.hint == "It knows L0, L1, L2, L3, L4, L5, L6, L7, L8, L9 and 2 more"


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({}, "Text 1 was given no score for any label"),
        ({"OTHER": 1.0}, "Text 1 was given no score for any label"),
        ({"HAM": math.nan}, "Text 1: the predicted score of 'HAM' is nan, not from 0 to 1"),
        ({"HAM": 7.0}, "Text 1: the predicted score of 'HAM' is 7.0, not from 0 to 1"),
    ],
)
def test_prediction_errors(predicted: Cats, message: str) -> None:
    with pytest.raises(PipelineError) as error:
        decide([one_hot("HAM")], [predicted], LABELS, exclusive=True)
    assert error.value.message == message


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="1 texts, but 2 gold records"):
        decide([{"A": 1.0}] * 2, [{"A": 1.0}], ["A"], exclusive=False)
    for threshold in (2, {"A": 0.5, "B": 2}):
        with pytest.raises(ValueError, match="threshold must be from 0 to 1, not 2"):
            decide([{"A": 1.0}], [{"A": 1.0}], ["A"], exclusive=False, threshold=threshold)
