from typing import Any

import numpy as np
import pytest

from trfcli_pipeline.evaluation.thresholds import CANDIDATES, tune_thresholds

LABELS = [f"label {i}" for i in range(12)]


def texts(rng: np.random.Generator, n_texts: int, shares: Any, centers: Any) -> tuple[Any, Any]:
    """Gold labels and scores. The higher the center of a label, the higher its best threshold."""
    truth = rng.random((n_texts, len(shares))) < shares
    logits = centers + 2.5 * truth + rng.normal(size=truth.shape)
    return truth, 1 / (1 + np.exp(-logits))


def records(rows: Any, labels: list[str] = LABELS) -> list[dict[str, float]]:
    return [dict(zip(labels, row, strict=True)) for row in np.asarray(rows, dtype=float).tolist()]


def f_scores(truth: Any, values: Any, candidates: Any) -> Any:
    """F of one label at each candidate."""
    predicted = values >= candidates[:, np.newaxis]
    total = np.maximum(predicted.sum(axis=1) + truth.sum(), 1)
    return 2 * (predicted & truth).sum(axis=1) / total


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


def test_threshold_of_a_rare_label_is_not_determined_by_its_only_text() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 1000, np.array([0.2] * 11 + [0.0]), np.full(12, -2.0))
    found = []
    # A score above nearly all texts without the label, and one below nearly all of them.
    for score in (0.98, 0.02):
        truth[0, -1], values[0, -1] = True, score
        found.append(tuned(truth, values)[-1])
    assert found[0] == pytest.approx(found[1], abs=0.06)
    assert 0.3 < found[0] < 0.9


def test_mostly_unknown_label_gets_the_threshold_of_the_pooled_labels() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 1000, np.full(12, 0.2), np.full(12, -2.0))
    gold = records(truth)
    for record in gold[3:]:
        del record[LABELS[-1]]
    found = tune_thresholds(gold, records(values), LABELS)[LABELS[-1]]
    f = f_scores(truth.ravel(), values.ravel(), CANDIDATES)
    assert found == pytest.approx(CANDIDATES[np.argmax(f)], abs=0.05)


def test_tuned_thresholds_generalize_better_than_one_half_and_than_unsmoothed_ones() -> None:
    rng = np.random.default_rng(0)
    shares = np.geomspace(0.005, 0.2, 12)
    # A small dev set with many rare labels. The rarer a label, the lower its scores.
    reached = np.array([micro_f_on_new_texts(rng, shares, np.log(shares)) for _ in range(5)])
    tuned_f, one_half_f, unsmoothed_f = reached.mean(axis=0)
    assert tuned_f > one_half_f + 0.02
    assert tuned_f > unsmoothed_f + 0.01


def micro_f_on_new_texts(rng: np.random.Generator, shares: Any, centers: Any) -> list[float]:
    """Micro F with tuned thresholds, with 0.5, and with the best threshold of each label."""
    truth, values = texts(rng, 300, shares, centers)
    new_truth, new_values = texts(rng, 10_000, shares, centers)
    columns = zip(truth.T, values.T, strict=True)
    unsmoothed = [CANDIDATES[np.argmax(f_scores(t, v, CANDIDATES))] for t, v in columns]
    reached = []
    for thresholds in (tuned(truth, values), 0.5, unsmoothed):
        predicted = new_values >= np.array(thresholds)
        reached.append(2 * (predicted & new_truth).sum() / (predicted.sum() + new_truth.sum()))
    return reached


def test_threshold_is_in_the_middle_of_the_gap() -> None:
    truth = np.array([[True], [True], [False], [False]])
    assert tuned(truth, np.array([[0.9], [0.7], [0.3], [0.1]]), ["A"]) == [0.5]
    assert tuned(truth, np.array([[0.9], [0.3], [0.1], [0.1]]), ["A"]) == [pytest.approx(0.2)]


def test_order_of_texts_and_labels_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    truth, values = texts(rng, 200, np.full(12, 0.1), np.full(12, -1.5))
    found = tuned(truth, values)
    assert tuned(truth[::-1], values[::-1]) == found
    assert tuned(truth[:, ::-1], values[:, ::-1], LABELS[::-1]) == found[::-1]


def test_unknown_labels_are_not_negative_examples() -> None:
    gold = [{"A": 1.0}, {"A": 0.0}, {}, {}, {"B": 1.0, "A": None}]
    predicted = [{"A": a, "B": b} for a, b in ((0.4, 0), (0.2, 0), (0.9, 0), (0.8, 0), (0.9, 0.4))]
    found = tune_thresholds(gold, predicted, ["A", "B"])
    assert 0.2 < found["A"] <= 0.4


def test_thresholds_are_one_half_if_no_text_has_a_label() -> None:
    assert tune_thresholds([{"A": 0.0}], [{"A": 0.3}], ["A"]) == {"A": 0.5}


def test_gold_labels_may_be_shares() -> None:
    gold = [{"A": 0.9, "B": 0.2}, {"A": 0.2, "B": 0.9}]
    predicted = [{"A": 0.8, "B": 0.3}, {"A": 0.3, "B": 0.8}]
    assert tune_thresholds(gold, predicted, ["A", "B"]) == {"A": 0.55, "B": 0.55}
