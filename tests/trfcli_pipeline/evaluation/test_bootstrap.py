import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from trfcli_pipeline.evaluation.bootstrap import (
    intervals,
    percentile_interval,
    resampled_metrics,
)
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction
from trfcli_pipeline.evaluation.metrics import spacy_scores


def exclusive_prediction(gold: str, predicted: str, labels: str = "AB") -> EvalPrediction:
    """Each letter is the gold or the predicted label of a text."""
    return EvalPrediction.from_cats(
        [{label: 1.0} for label in gold],
        [{label: float(label == each) for label in labels} for each in predicted],
        labels,
        exclusive=True,
    )


def random_multilabel(*, seed: int = 0, n_texts: int = 300) -> EvalPrediction:
    rng = np.random.default_rng(seed)
    truth = rng.random((n_texts, 4)) < 0.3
    values = np.clip(0.3 + 0.4 * truth + 0.2 * rng.normal(size=truth.shape), 0, 1)
    # The last label is unknown for half of the texts.
    gold = [dict(zip("ABCD", row, strict=True)) for row in truth.astype(float).tolist()]
    for record in gold[::2]:
        del record["D"]
    predicted = [dict(zip("ABCD", row, strict=True)) for row in values.tolist()]
    return EvalPrediction.from_cats(gold, predicted, "ABCD", exclusive=False)


def slow_metrics(prediction: EvalPrediction, rows: Any) -> tuple[float, float, float]:
    """Accuracy, micro F and macro F of one resample."""
    gold, predicted = prediction.is_gold[rows], (prediction.is_predicted & prediction.known)[rows]
    hits, total = (gold & predicted).sum(axis=0), gold.sum(axis=0) + predicted.sum(axis=0)
    correct = (gold == predicted).all(axis=1).mean()
    return float(correct), 2 * hits.sum() / total.sum(), float((2 * hits / total).mean())


def test_distribution_equals_that_of_a_naive_bootstrap() -> None:
    prediction = random_multilabel()
    rng = np.random.default_rng(1)
    slow = [slow_metrics(prediction, rng.integers(300, size=300)) for _ in range(500)]
    (fast,) = resampled_metrics([prediction], 3000)
    for name, values in zip(fast, zip(*slow, strict=True), strict=True):
        spread = np.std(values)
        assert np.mean(fast[name]) == pytest.approx(np.mean(values), abs=0.3 * spread)
        assert np.std(fast[name]) == pytest.approx(spread, rel=0.2)


def test_interval_of_accuracy_is_exact() -> None:
    found = intervals(exclusive_prediction("A" * 400, "A" * 300 + "B" * 100))
    expected = binomtest(300, 400).proportion_ci(method="exact")
    assert found["accuracy"] == pytest.approx((expected.low, expected.high))
    # With exclusive labels, micro F equals accuracy.
    assert found["cats_micro_f"] == found["accuracy"]


def test_interval_of_a_bootstrapped_proportion_matches_the_normal_approximation() -> None:
    (values,) = resampled_metrics([exclusive_prediction("A" * 400, "A" * 300 + "B" * 100)], 1000)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    found = percentile_interval(values["cats_micro_f"])
    assert found == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)


def test_f_that_does_not_vary_has_no_interval() -> None:
    assert intervals(exclusive_prediction("AB", "AB")).keys() == {"accuracy", "cats_micro_f"}
    assert intervals(exclusive_prediction("AB", "AB"))["accuracy"] == pytest.approx(
        (0.158, 1), abs=1e-3
    )
    assert "cats_macro_f" in intervals(exclusive_prediction("AAB", "ABB"))


def test_intervals_are_reproducible() -> None:
    assert intervals(random_multilabel()) == intervals(random_multilabel())
    assert intervals(random_multilabel()) != intervals(random_multilabel(seed=1))


def test_order_of_texts_does_not_matter() -> None:
    gold, predicted = "AABBABABBA", "ABBBAABBAA"
    assert intervals(exclusive_prediction(gold, predicted)) == intervals(
        exclusive_prediction(gold[::-1], predicted[::-1])
    )


def test_rare_label_missing_from_a_resample_does_not_lower_its_score() -> None:
    (found,) = resampled_metrics([exclusive_prediction("AAAAAAAAAB", "AAAAAAAAAB")], 100)
    assert found["cats_macro_f"].tolist() == [1.0] * 100


def test_label_without_texts_counts_as_zero_as_in_spacy() -> None:
    prediction = exclusive_prediction("AABB", "AABB", labels="ABC")
    (found,) = resampled_metrics([prediction], 100)
    assert found["cats_macro_f"] == pytest.approx([2 / 3] * 100)
    assert spacy_scores(prediction)["cats_macro_f"] == pytest.approx(2 / 3)


def test_texts_without_any_label() -> None:
    prediction = EvalPrediction.from_cats([{"A": 0.0}] * 5, [{"A": 0.1}] * 5, "A", exclusive=False)
    (found,) = resampled_metrics([prediction], 10)
    assert found["accuracy"].tolist() == [1.0] * 10
    assert found["cats_micro_f"].tolist() == found["cats_macro_f"].tolist() == [0.0] * 10
    assert intervals(prediction).keys() == {"accuracy"}


def test_two_classifiers_are_scored_on_the_same_resamples() -> None:
    prediction = random_multilabel()
    first, second = resampled_metrics([prediction, prediction], 50)
    for name, values in first.items():
        assert values.shape == (50,)
        np.testing.assert_array_equal(values, second[name])


def test_many_texts_are_drawn_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.evaluation.bootstrap._DRAWS", 700)
    (found,) = resampled_metrics([random_multilabel()], 5)
    assert found["accuracy"].shape == (5,)
    assert len(set(found["accuracy"].tolist())) > 1
