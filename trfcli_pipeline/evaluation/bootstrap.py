"""How much of a figure is chance: the same texts, drawn again and again with replacement."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import Bools, EvalPrediction, Floats
from trfcli_pipeline.evaluation.metrics import Counts, precision_recall_f

__all__ = ["Interval", "intervals", "percentile_interval", "resampled_figures"]

Interval = tuple[float, float]

RESAMPLES = 1000
LEVEL = 0.95
# Texts drawn at a time: arrays of some megabytes.
_DRAWS = 2_000_000


def intervals(
    decisions: EvalPrediction, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """95 % percentile bootstrap intervals of accuracy, micro F and macro F.

    Efron and Tibshirani 1993, chapter 13. They depend on which texts there are, and not on their
    order.
    """
    (figures,) = resampled_figures([decisions], resamples=resamples, seed=seed)
    return {name: percentile_interval(values) for name, values in figures.items()}


def percentile_interval(values: Floats) -> Interval:
    """The middle 95 % of some values."""
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


def resampled_figures(
    classifiers: list[EvalPrediction], *, resamples: int, seed: int
) -> list[dict[str, Floats]]:
    """Accuracy, micro F and macro F of each classifier in each resample.

    A label that a resample happens to lack is left out of that resample's macro F, rather than
    counted as 0.0, which would make rare labels look like mistakes. One that all the texts lack
    counts as 0.0, as it does in `cats_macro_f`.

    Args:
        classifiers: What each predicted for the same texts. Resamples are paired: each has the
            same texts for all.

    Returns:
        For each classifier "accuracy", "cats_micro_f" and "cats_macro_f". *Shape:* (resamples,)
    """
    patterns, sizes = _patterns(classifiers)
    n_labels = len(classifiers[0].labels)
    gold, *decided = np.split(patterns, range(n_labels, patterns.shape[1], n_labels), axis=1)
    outcomes = [_Outcomes(gold, each, sizes) for each in decided]
    figures = [
        [each.figures(weights) for each in outcomes]
        for weights in _draw(sizes, resamples=resamples, seed=seed)
    ]
    return [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*figures, strict=True)
    ]


def _patterns(classifiers: list[EvalPrediction]) -> tuple[Bools, NDArray[np.int_]]:
    """The different rows of gold and predicted labels, and how many texts have each.

    Texts with the same row count the same, and most do. *Shape:* (patterns, labels * (1 +
    classifiers)), (patterns,)
    """
    first = classifiers[0]
    rows = np.hstack([first.is_gold, *(each.decided & first.known for each in classifiers)])
    packed = np.packbits(rows, axis=1)
    _, places, sizes = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return rows[places], sizes


def _draw(sizes: NDArray[np.int_], *, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each resample has each pattern, some resamples at a time.

    *Shape:* (some resamples, patterns)
    """
    rng = np.random.default_rng(seed)
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
    """What one classifier made of each pattern."""

    def __init__(self, gold: Bools, decided: Bools, sizes: NDArray[np.int_]) -> None:
        # float32 counts exactly up to 16 million, and multiplies twice as fast.
        self.tp, self.fp, self.fn = (
            each.astype(np.float32) for each in (gold & decided, ~gold & decided, gold & ~decided)
        )
        self.correct = (gold == decided).all(axis=1).astype(np.float32)
        self.n_texts = int(sizes.sum())
        self.share_seen = float((gold | decided).any(axis=0).mean())

    def figures(self, weights: NDArray[np.float32]) -> dict[str, Floats]:
        """*Shape:* (resamples,) each"""
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
