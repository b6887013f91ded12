from typing import Any

import numpy as np
import pytest

from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.thresholds import CANDIDATES, tune_thresholds

LABELS = [f"label {i}" for i in range(12)]


def texts(rng: np.random.Generator, n_texts: int, shares: Any, centres: Any) -> tuple[Any, Any]:
    """Labels, and scores whose best threshold is higher for labels of a higher centre."""
    truth = rng.random((n_texts, len(shares))) < shares
    logits = centres + 2.5 * truth + rng.normal(size=truth.shape)
    return truth, 1 / (1 + np.exp(-logits))


def records(rows: Any, labels: list[str] = LABELS) -> list[dict[str, float]]:
    return [dict(zip(labels, row, strict=True)) for row in np.asarray(rows, dtype=float).tolist()]


def f_scores(truth: Any, values: Any, candidates: Any) -> Any:
    """The F of one label at each candidate."""
    decided = values >= candidates[:, np.newaxis]
    total = np.maximum(decided.sum(axis=1) + truth.sum(), 1)
    return 2 * (decided & truth).sum(axis=1) / total


def tuned(truth: Any, values: Any, labels: list[str] = LABELS) -> list[float]:
    found = tune_thresholds(records(truth, labels), records(values, labels), labels)
    assert list(found) == labels
    return list(found.values())


def test_common_labels_get_their_own_best_threshold() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 20_000, np.full(3, 0.3), np.array([-3.0, -1.0, 0.0]))
    found = tuned(truth, values, LABELS[:3])
    for column, threshold in enumerate(found):
        f = f_scores(truth[:, column], values[:, column], CANDIDATES)
        assert f[round(threshold * 100) - 1] == pytest.approx(max(f), abs=0.001)
    assert found == sorted(found)
    assert found[0] < 0.35
    assert found[2] > 0.65


def test_label_with_one_text_does_not_follow_that_text() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 1000, np.array([0.2] * 11 + [0.0]), np.full(12, -2.0))
    found = []
    # a score that hardly any text without the label reaches, and one that nearly all reach
    for score in (0.98, 0.02):
        truth[0, -1], values[0, -1] = True, score
        found.append(tuned(truth, values)[-1])
    assert found[0] == pytest.approx(found[1], abs=0.06)
    assert 0.3 < found[0] < 0.9


def test_label_of_which_little_is_known_gets_the_threshold_of_all_together() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 1000, np.full(12, 0.2), np.full(12, -2.0))
    gold = records(truth)
    for record in gold[3:]:
        del record[LABELS[-1]]
    found = tune_thresholds(gold, records(values), LABELS)[LABELS[-1]]
    f = f_scores(truth.ravel(), values.ravel(), CANDIDATES)
    assert found == pytest.approx(CANDIDATES[np.argmax(f)], abs=0.05)


def test_better_on_new_texts_than_one_half_and_than_chasing_few_texts() -> None:
    rng = np.random.default_rng(0)
    shares = np.geomspace(0.005, 0.2, 12)
    # Few texts, a few each of most labels, whose scores are the lower the rarer they are.
    reached = np.array([micro_f_on_new_texts(rng, shares, np.log(shares)) for _ in range(5)])
    of_tuned, of_one_half, of_chased = reached.mean(axis=0)
    assert of_tuned > of_one_half + 0.02
    assert of_tuned > of_chased + 0.01


def micro_f_on_new_texts(rng: np.random.Generator, shares: Any, centres: Any) -> list[float]:
    """Of tuned thresholds, of 0.5, and of the best of each label on the few texts."""
    truth, values = texts(rng, 300, shares, centres)
    new_truth, new_values = texts(rng, 10_000, shares, centres)
    columns = zip(truth.T, values.T, strict=True)
    chased = [CANDIDATES[np.argmax(f_scores(t, v, CANDIDATES))] for t, v in columns]
    reached = []
    for thresholds in (tuned(truth, values), 0.5, chased):
        decided = new_values >= np.array(thresholds)
        reached.append(2 * (decided & new_truth).sum() / (decided.sum() + new_truth.sum()))
    return reached


def test_middle_of_the_gap_between_yes_and_no() -> None:
    truth = np.array([[True], [True], [False], [False]])
    assert tuned(truth, np.array([[0.9], [0.7], [0.3], [0.1]]), ["A"]) == [0.5]
    assert tuned(truth, np.array([[0.9], [0.3], [0.1], [0.1]]), ["A"]) == [pytest.approx(0.2)]


def test_order_of_texts_and_labels_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 200, np.full(12, 0.1), np.full(12, -1.5))
    found = tuned(truth, values)
    assert tuned(truth[::-1], values[::-1]) == found
    assert tuned(truth[:, ::-1], values[:, ::-1], LABELS[::-1]) == found[::-1]


def test_unknown_labels_are_not_negative() -> None:
    gold = [{"A": 1.0}, {"A": 0.0}, {}, {}, {"B": 1.0, "A": None}]
    predicted = [{"A": a, "B": b} for a, b in ((0.4, 0), (0.2, 0), (0.9, 0), (0.8, 0), (0.9, 0.4))]
    found = tune_thresholds(gold, predicted, ["A", "B"])
    assert 0.2 < found["A"] <= 0.4


def test_without_any_label_thresholds_stay_at_one_half() -> None:
    assert tune_thresholds([{"A": 0.0}], [{"A": 0.3}], ["A"]) == {"A": 0.5}


def test_labels_that_are_not_known_are_an_error() -> None:
    with pytest.raises(DataError, match="Label 'B'"):
        tune_thresholds([{"B": 1.0}], [{"A": 0.3}], ["A"])
