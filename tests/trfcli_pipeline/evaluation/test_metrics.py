from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from labeled import LABELS, Cats, Pairs, exclusive_pairs, multilabel_pairs, one_hot, scores
from sklearn import metrics as sklearn_metrics
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.evaluation import metrics
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction


def random_prediction(*, n_texts: int = 200, n_labels: int = 5, exclusive: bool) -> EvalPrediction:
    """Predictions that are mostly correct; the last label is rare."""
    rng = np.random.default_rng(0)
    labels = [f"label {i}" for i in range(n_labels)]
    shares = np.arange(n_labels, 0, -1) / sum(range(n_labels + 1))
    if exclusive:
        truth = np.arange(n_labels) == rng.choice(n_labels, size=(n_texts, 1), p=shares)
    else:
        truth = rng.random((n_texts, n_labels)) < shares
    values = 1 / (1 + np.exp(2 - 3 * truth - rng.normal(size=truth.shape)))
    return EvalPrediction.from_cats(
        [dict(zip(labels, row, strict=True)) for row in truth.astype(float).tolist()],
        [dict(zip(labels, row, strict=True)) for row in values.tolist()],
        labels,
        exclusive=exclusive,
        threshold=0.4,
    )


# Parity with spaCy


def scores_of_spacy(pairs: Pairs, labels: Sequence[str], **options: Any) -> dict[str, Any]:
    vocab = Vocab()
    examples = []
    for gold_cats, predicted_cats in pairs:
        doc, reference = Doc(vocab), Doc(vocab)
        doc.cats, reference.cats = dict(predicted_cats), dict(gold_cats)
        examples.append(Example(doc, reference))
    return Scorer.score_cats(examples, "cats", labels=labels, **options)


def assert_equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Same keys in the same order, and same values up to rounding."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        if isinstance(value, Mapping):
            assert_equal(found[name], value)
        else:
            assert found[name] == pytest.approx(value, abs=1e-12), name


@given(exclusive_pairs)
@settings(max_examples=50)
def test_exclusive_scores_equal_those_of_spacy(pairs: Pairs) -> None:
    gold, predicted = zip(*pairs, strict=True)
    found = metrics.spacy_scores(EvalPrediction.from_cats(gold, predicted, LABELS, exclusive=True))
    assert_equal(found, scores_of_spacy(pairs, LABELS, multi_label=False))


@given(multilabel_pairs, scores)
@settings(max_examples=50)
def test_multi_label_scores_equal_those_of_spacy(pairs: Pairs, threshold: float) -> None:
    gold, predicted = zip(*pairs, strict=True)
    prediction = EvalPrediction.from_cats(
        gold, predicted, LABELS, exclusive=False, threshold=threshold
    )
    expected = scores_of_spacy(pairs, LABELS, multi_label=True, threshold=threshold)
    assert_equal(metrics.spacy_scores(prediction), expected)


@pytest.mark.parametrize("exclusive", [True, False])
def test_scores_of_many_labels_equal_those_of_spacy(exclusive: bool) -> None:
    prediction = random_prediction(n_texts=400, n_labels=77, exclusive=exclusive)
    rows = zip(prediction.gold.tolist(), prediction.scores.tolist(), strict=True)
    pairs: Pairs = [
        (dict(zip(prediction.labels, g, strict=True)), dict(zip(prediction.labels, p, strict=True)))
        for g, p in rows
    ]
    options = {"multi_label": not exclusive, "threshold": 0.4}
    expected = scores_of_spacy(pairs, prediction.labels, **options)
    assert_equal(metrics.spacy_scores(prediction), expected)


# Parity with scikit-learn


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_averages_equal_those_of_scikit_learn(exclusive: bool, average: str) -> None:
    prediction = random_prediction(exclusive=exclusive)
    found = {
        **metrics.spacy_scores(prediction),
        **metrics.weighted_scores(metrics.count(prediction)),
    }
    *expected, _ = sklearn_metrics.precision_recall_fscore_support(
        prediction.is_gold, prediction.is_predicted, average=average, zero_division=0.0
    )
    prefix = "weighted" if average == "weighted" else f"cats_{average}"
    assert [found[f"{prefix}_{score}"] for score in "prf"] == pytest.approx(expected)


@pytest.mark.parametrize("exclusive", [True, False])
def test_ranking_metrics_equal_those_of_scikit_learn(exclusive: bool) -> None:
    prediction = random_prediction(exclusive=exclusive)
    truth, values = prediction.is_gold, prediction.scores
    auc = sklearn_metrics.roc_auc_score(truth, values, average=None)
    precision = sklearn_metrics.average_precision_score(truth, values, average=None)
    assert metrics.roc_auc(prediction) == pytest.approx(auc)
    assert metrics.average_precision(prediction) == pytest.approx(precision)


def test_confusion_matrix_equals_that_of_scikit_learn() -> None:
    prediction = random_prediction(exclusive=True)
    gold, predicted = prediction.is_gold.argmax(axis=1), prediction.is_predicted.argmax(axis=1)
    expected = sklearn_metrics.confusion_matrix(gold, predicted)
    np.testing.assert_array_equal(metrics.confusion_matrix(prediction), expected)


@pytest.mark.parametrize("column", [None, 0, 4])
def test_curve_is_a_sample_of_that_of_scikit_learn(column: int | None) -> None:
    prediction = random_prediction(exclusive=False)
    chosen = slice(None) if column is None else slice(column, column + 1)
    precision, recall, _ = sklearn_metrics.precision_recall_curve(
        prediction.is_gold[:, chosen].ravel(), prediction.scores[:, chosen].ravel()
    )
    curve = metrics.precision_recall_curve(prediction, column, points=20)
    assert set(curve) <= set(zip(recall.tolist(), precision.tolist(), strict=True))
    assert (curve[0], curve[-1][0]) == ((0.0, 1.0), 1.0)
    assert curve == sorted(curve)
    # Each sampled point has the best precision at its recall.
    best = dict(zip(recall.tolist(), precision.tolist(), strict=True))
    for value, reached in zip(recall.tolist(), precision.tolist(), strict=True):
        best[value] = max(best[value], reached)
    assert all(reached == best[value] for value, reached in curve)
    assert len(curve) <= 21


# Computed by hand


def test_unknown_labels_are_not_counted() -> None:
    gold: list[Cats] = [{"HAM": 1.0}, {"HAM": 0.0}, {"SPAM": 0.0}, {"HAM": 1.0, "SPAM": 1.0}]
    predicted = [dict.fromkeys(LABELS, value) for value in (0.9, 0.8, 0.7, 0.1)]
    prediction = EvalPrediction.from_cats(gold, predicted, LABELS, exclusive=False)
    counts = metrics.count(prediction)
    np.testing.assert_array_equal(counts.tp, [1, 0, 0])
    np.testing.assert_array_equal(counts.fp, [1, 1, 0])
    np.testing.assert_array_equal(counts.fn, [1, 1, 0])
    # HAM: scores 0.9 and 0.1 with the label, 0.8 without. SPAM: 0.1 with it, 0.7 without.
    assert metrics.roc_auc(prediction) == [0.5, 0.0, None]
    found = metrics.average_precision(prediction)
    assert found == [pytest.approx((1 + 2 / 3) / 2), 0.5, None]
    # tp 1, tn 0, fp 2, fn 2
    assert metrics.matthews_correlation(prediction) == pytest.approx(
        (0 - 4) / np.sqrt(3 * 3 * 2 * 2)
    )


def test_matthews_correlation_of_exclusive_labels() -> None:
    gold = [one_hot(label) for label in ("HAM", "HAM", "HAM", "SPAM", "SPAM")]
    predicted = [one_hot(label) for label in ("HAM", "HAM", "SPAM", "SPAM", "ODD")]
    found = metrics.matthews_correlation(
        EvalPrediction.from_cats(gold, predicted, LABELS, exclusive=True)
    )
    # (correct * all - sum of gold * predicted) / sqrt((all² - gold²) * (all² - predicted²))
    expected = (3 * 5 - (3 * 2 + 2 * 2)) / np.sqrt((25 - 9 - 4) * (25 - 4 - 4 - 1))
    assert found == pytest.approx(expected)


def test_texts_without_labels_give_zeros_and_no_warning() -> None:
    prediction = EvalPrediction.from_cats(
        [{"A": 0.0, "B": 0.0}] * 3, [{"A": 0.1, "B": 0.2}] * 3, "AB", exclusive=False
    )
    weighted = metrics.weighted_scores(metrics.count(prediction))
    assert weighted == {"weighted_p": 0.0, "weighted_r": 0.0, "weighted_f": 0.0}
    assert metrics.spacy_scores(prediction)["cats_macro_f"] == 0.0
    assert metrics.matthews_correlation(prediction) == 0.0
    assert metrics.precision_recall_curve(prediction) == []


def test_mean_of_defined_ignores_none() -> None:
    assert metrics.mean_of_defined([0.5, None, 1.0]) == 0.75
    assert metrics.mean_of_defined([None]) is None
