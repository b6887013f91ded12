"""Confidence intervals, most by the bootstrap: resample the texts, and score each resample."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, EvalPrediction, FloatArray
from trfcli_pipeline.evaluation.metrics import Counts, precision_recall_f
from trfcli_pipeline.evaluation.selective import Interval, share_interval
from trfcli_pipeline.progress import phase

INTERVAL_RESAMPLES = 1000
LEVEL = 0.95
# The same texts get the same intervals.
_SEED = 0
# Texts to draw at a time, so that arrays take a few megabytes.
_DRAWS = 2_000_000


def intervals(prediction: EvalPrediction) -> dict[str, Interval]:
    """95 % intervals of accuracy, micro F and macro F. The order of the texts doesn't matter.

    That of accuracy is exact. Those of F are percentile bootstraps (Efron and Tibshirani 1993,
    chapter 13). An F that is the same in all resamples, as it is if all texts are right, has none:
    the bootstrap doesn't know how much it varies. With exclusive labels, micro F is the accuracy.
    """
    correct = prediction.correct
    found = {"accuracy": share_interval(int(correct.sum()), len(correct))}
    (metrics,) = resampled_metrics([prediction], INTERVAL_RESAMPLES)
    for name in ("cats_micro_f", "cats_macro_f"):
        low, high = percentile_interval(metrics[name])
        if not math.isclose(low, high):
            found[name] = low, high
    if prediction.exclusive:
        found["cats_micro_f"] = found["accuracy"]
    return found


def percentile_interval(values: FloatArray) -> Interval:
    """The interval that contains the middle 95 % of the values."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


def resampled_metrics(
    predictions: list[EvalPrediction], resamples: int
) -> list[dict[str, FloatArray]]:
    """Accuracy, micro F and macro F of each classifier in each resample.

    A label that is missing from a resample is left out of that resample's macro F. Counting it as
    0.0 would make rare labels look like mistakes. A label that is missing from all texts counts as
    0.0, as it does in `cats_macro_f`.

    Args:
        predictions: Predictions of each classifier for the same texts. Resamples are paired: all
            classifiers are scored on the same ones.

    Returns:
        For each classifier "accuracy", "cats_micro_f" and "cats_macro_f". *Shape:* (resamples,)
    """
    patterns, sizes = _patterns(predictions)
    n_labels = len(predictions[0].labels)
    gold, *predicted = np.split(patterns, range(n_labels, patterns.shape[1], n_labels), axis=1)
    outcomes = [_Outcomes(gold, each, sizes) for each in predicted]
    with phase("Computing confidence intervals"):
        metrics = [
            [each.metrics(weights) for each in outcomes] for weights in _draw(sizes, resamples)
        ]
    return [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*metrics, strict=True)
    ]


def _patterns(predictions: list[EvalPrediction]) -> tuple[BoolArray, NDArray[np.int_]]:
    """The distinct rows of gold and predicted labels, and the number of texts with each.

    Most texts share their row with many others, so this saves most of the work.
    *Shape:* (patterns, labels * (1 + classifiers)), (patterns,)
    """
    first = predictions[0]
    rows = np.hstack([first.is_gold, *(each.is_predicted & first.known for each in predictions)])
    packed = np.packbits(rows, axis=1)
    _, places, sizes = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return rows[places], sizes


def _draw(sizes: NDArray[np.int_], resamples: int) -> Iterator[NDArray[np.float32]]:
    """How often each pattern occurs in each resample, a few resamples at a time.

    *Shape:* (some resamples, patterns)
    """
    rng = np.random.default_rng(_SEED)
    pattern_of = np.repeat(np.arange(len(sizes)), sizes)
    n_texts = len(pattern_of)
    step = max(1, _DRAWS // n_texts)
    for start in range(0, resamples, step):
        n = min(step, resamples - start)
        drawn = pattern_of[rng.integers(n_texts, size=(n, n_texts))]
        drawn += len(sizes) * np.arange(n)[:, np.newaxis]
        weights = np.bincount(drawn.ravel(), minlength=n * len(sizes)).reshape(n, len(sizes))
        yield weights.astype(np.float32)


class _Outcomes:
    """How one classifier does on each pattern."""

    def __init__(self, gold: BoolArray, predicted: BoolArray, sizes: NDArray[np.int_]) -> None:
        # float32 is exact for counts up to 16 million, and multiplies twice as fast.
        self.tp, self.fp, self.fn = (
            each.astype(np.float32)
            for each in (gold & predicted, ~gold & predicted, gold & ~predicted)
        )
        self.correct = (gold == predicted).all(axis=1).astype(np.float32)
        self.n_texts = int(sizes.sum())
        self.share_seen = float((gold | predicted).any(axis=0).mean())

    def metrics(self, weights: NDArray[np.float32]) -> dict[str, FloatArray]:
        """Compute the metrics of each resample. *Shape:* (resamples,) each"""
        counts = Counts(
            *((weights @ each).astype(np.float64) for each in (self.tp, self.fp, self.fn))
        )
        _, _, micro_f = precision_recall_f(counts.pooled())
        _, _, f = precision_recall_f(counts)
        n_seen = np.maximum(counts.seen.sum(axis=1), 1)
        return {
            "accuracy": (weights @ self.correct).astype(np.float64) / self.n_texts,
            "cats_micro_f": micro_f[:, 0],
            "cats_macro_f": f.sum(axis=1) / n_seen * self.share_seen,
        }
