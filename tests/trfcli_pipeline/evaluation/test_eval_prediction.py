import math
from typing import Any

import numpy as np
import pytest
from labeled import LABELS, Cats, one_hot

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction


def test_labels_unknown_to_the_classifier_are_ignored() -> None:
    gold = [{"HAM": 1.0, "NEW": 1.0}]
    prediction = EvalPrediction.from_cats(gold, [one_hot("HAM")], LABELS, exclusive=False)
    assert prediction.correct.tolist() == [True]


def test_labels_missing_from_a_record_are_unknown() -> None:
    gold: list[Any] = [{"HAM": 1.0, "SPAM": None}, {}, {"ODD": 0.7, "HAM": 0.0}]
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


@pytest.mark.parametrize("exclusive", [True, False])
def test_label_applies_from_one_half(exclusive: bool) -> None:
    """The rule of `Record.labels`."""
    gold: list[Cats] = [
        {"HAM": 0.5, "SPAM": 0.49, "ODD": 0.01},
        {"HAM": 0.4, "SPAM": 0.35, "ODD": 0.25},
    ]
    prediction = EvalPrediction.from_cats(gold, [one_hot("HAM")] * 2, LABELS, exclusive=exclusive)
    np.testing.assert_array_equal(prediction.gold[0], [1.0, 0.0, 0.0])
    assert [record.labels for record in (Record("", dict(each), 1) for each in gold)] == [
        {"HAM"},
        set(),
    ]
    # Without a label that applies, there is nothing to compare an exclusive prediction with.
    assert prediction.indices.tolist() == ([0] if exclusive else [0, 1])


def test_several_exclusive_labels_are_an_error() -> None:
    gold: list[Cats] = [{"HAM": 1.0}, {"HAM": 0.5, "ODD": 0.5}]
    with pytest.raises(DataError, match="Text 2: the labels are exclusive, but several apply"):
        EvalPrediction.from_cats(gold, [one_hot("HAM")] * 2, LABELS, exclusive=True)


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
    ],
)
def test_nothing_to_score_is_an_error(gold: list[Cats], exclusive: bool, message: str) -> None:
    with pytest.raises(DataError) as error:
        EvalPrediction.from_cats(gold, [one_hot("HAM")] * len(gold), LABELS, exclusive=exclusive)
    assert error.value.message == message


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
