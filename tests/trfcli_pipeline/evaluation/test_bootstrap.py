import math
from typing import Any

import numpy as np
import pytest

from trfcli_pipeline.evaluation.bootstrap import intervals, resampled_figures
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction, decide
from trfcli_pipeline.evaluation.metrics import spacy_scores


def exclusive_decisions(golds: str, said: str, labels: str = "AB") -> EvalPrediction:
    """Texts whose labels, and what was said, are letters."""
    return decide(
        [{gold: 1.0} for gold in golds],
        [{label: float(label == each) for label in labels} for each in said],
        labels,
        exclusive=True,
    )


def random_multilabel(*, seed: int = 0, n_texts: int = 300) -> EvalPrediction:
    rng = np.random.default_rng(seed)
    truth = rng.random((n_texts, 4)) < 0.3
    values = np.clip(0.3 + 0.4 * truth + 0.2 * rng.normal(size=truth.shape), 0, 1)
    # the last label isn't known for half of the texts
    gold = [dict(zip("ABCD", row, strict=True)) for row in truth.astype(float).tolist()]
    for record in gold[::2]:
        del record["D"]
    predicted = [dict(zip("ABCD", row, strict=True)) for row in values.tolist()]
    return decide(gold, predicted, "ABCD", exclusive=False)


def slow_figures(decisions: EvalPrediction, rows: Any) -> tuple[float, float, float]:
    """The figures of a resample, by making it."""
    gold, decided = decisions.is_gold[rows], (decisions.decided & decisions.known)[rows]
    hits, total = (gold & decided).sum(axis=0), gold.sum(axis=0) + decided.sum(axis=0)
    correct = (gold == decided).all(axis=1).mean()
    return float(correct), 2 * hits.sum() / total.sum(), float((2 * hits / total).mean())


def test_spread_is_that_of_resamples_made_one_by_one() -> None:
    decisions = random_multilabel()
    rng = np.random.default_rng(1)
    slow = [slow_figures(decisions, rng.integers(300, size=300)) for _ in range(500)]
    (fast,) = resampled_figures([decisions], resamples=3000, seed=0)
    for name, values in zip(fast, zip(*slow, strict=True), strict=True):
        spread = np.std(values)
        assert np.mean(fast[name]) == pytest.approx(np.mean(values), abs=0.3 * spread)
        assert np.std(fast[name]) == pytest.approx(spread, rel=0.2)


def test_interval_of_a_known_share() -> None:
    found = intervals(exclusive_decisions("A" * 400, "A" * 300 + "B" * 100))
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert found["accuracy"] == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)
    # Every wrong A is a wrong B, so both follow the accuracy.
    assert found["cats_micro_f"] == pytest.approx(found["accuracy"])


def test_seed_decides() -> None:
    decisions = random_multilabel()
    assert intervals(decisions, seed=1) == intervals(decisions, seed=1)
    assert intervals(decisions, seed=1) != intervals(decisions, seed=2)


def test_order_of_texts_changes_nothing() -> None:
    golds, said = "AABBABABBA", "ABBBAABBAA"
    assert intervals(exclusive_decisions(golds, said)) == intervals(
        exclusive_decisions(golds[::-1], said[::-1])
    )


def test_rare_label_that_a_resample_lacks_is_no_mistake() -> None:
    found = intervals(exclusive_decisions("AAAAAAAAAB", "AAAAAAAAAB"))
    assert found == dict.fromkeys(found, (1.0, 1.0))


def test_label_that_all_texts_lack_counts_as_zero_as_with_spacy() -> None:
    decisions = exclusive_decisions("AABB", "AABB", labels="ABC")
    found = intervals(decisions)["cats_macro_f"]
    assert found == pytest.approx((2 / 3, 2 / 3))
    assert spacy_scores(decisions)["cats_macro_f"] == pytest.approx(2 / 3)


def test_nothing_to_find_in_any_resample() -> None:
    decisions = decide([{"A": 0.0}] * 5, [{"A": 0.1}] * 5, "A", exclusive=False)
    found = intervals(decisions)
    assert found["accuracy"] == (1.0, 1.0)
    assert found["cats_micro_f"] == found["cats_macro_f"] == (0.0, 0.0)


def test_resamples_of_two_classifiers_are_the_same_texts() -> None:
    decisions = random_multilabel()
    first, second = resampled_figures([decisions, decisions], resamples=50, seed=3)
    for name, values in first.items():
        assert values.shape == (50,)
        np.testing.assert_array_equal(values, second[name])


def test_many_texts_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.evaluation.bootstrap._DRAWS", 700)
    (found,) = resampled_figures([random_multilabel()], resamples=5, seed=0)
    assert found["accuracy"].shape == (5,)
    assert len(set(found["accuracy"].tolist())) > 1
