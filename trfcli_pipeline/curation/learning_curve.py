"""Learning curves: how well probes predict that were fitted to more and more of the texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.cross_fitting import FitPredict, Indices, assign_folds
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.data.records import GOLD_THRESHOLD
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray, decide
from trfcli_pipeline.progress import track

# Draws of training texts at each size; with cross-fitting, also the number of folds.
DRAWS = 10
_N_SIZES, _SMALLEST_SHARE = 6, 1 / 8


@dataclass(frozen=True, eq=False)
class Draw:
    """Training texts in random order, of which the first are taken, and texts to predict.

    Attributes:
        train: Indices of texts.
        test: Indices of texts.
    """

    train: Indices
    test: Indices


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The predictions of probes that were fitted to different numbers of texts.

    Attributes:
        labels: The labels, in column order.
        exclusive: Whether exactly one label applies to each text.
        sizes: Numbers of training texts, in ascending order. *Shape:* (sizes,)
        gold: Where a label applies. *Shape:* (texts, labels)
        known: Where that is known. *Shape:* (texts, labels)
        predicted: Share of the draws in which a label was predicted.
            *Shape:* (sizes, texts, labels)
    """

    labels: tuple[str, ...]
    exclusive: bool
    sizes: NDArray[np.int_]
    gold: BoolArray
    known: BoolArray
    predicted: NDArray[np.float32]

    @property
    def n_texts(self) -> int:
        """Number of texts that were predicted."""
        return len(self.gold)

    def label_counts(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Count correct and wrong predictions of each label.

        Args:
            weights: How often each text counts. *Shape:* (resamples, texts)

        Returns:
            True positives, false positives and false negatives.
            *Shape:* (resamples, sizes, labels) each
        """
        hits = self.predicted * self.gold
        outcomes = (
            hits,
            self.predicted * (self.known & ~self.gold),
            self.gold - hits,
        )
        typed = weights.astype(np.float32)
        tp, fp, fn = (
            np.stack([typed @ each for each in outcome], axis=1).astype(np.float64)
            for outcome in outcomes
        )
        return tp, fp, fn


def cross_fitted_draws(
    texts: Sequence[str], gold: Gold, *, n_folds: int = DRAWS, seed: int = 0
) -> list[Draw]:
    """Predict each text once, from draws of the texts in other folds."""
    folds = assign_folds(texts, gold, n_folds=n_folds, seed=seed)
    rng = np.random.default_rng(seed)
    return [
        Draw(rng.permutation(np.flatnonzero(folds != fold)), np.flatnonzero(folds == fold))
        for fold in np.unique(folds)
    ]


def dev_draws(n_train: int, n_dev: int, *, seed: int = 0) -> list[Draw]:
    """Predict all texts of a dev set, which follow the training texts, from each draw."""
    rng = np.random.default_rng(seed)
    dev = np.arange(n_train, n_train + n_dev)
    return [Draw(rng.permutation(n_train), dev) for _ in range(DRAWS)]


def curve_sizes(draws: Sequence[Draw]) -> NDArray[np.int_]:
    """Numbers of training texts for a learning curve, each by the same factor above the last."""
    largest = min(len(draw.train) for draw in draws)
    shares = _SMALLEST_SHARE ** np.linspace(1, 0, _N_SIZES)
    return np.unique(np.maximum(np.round(largest * shares), 2).astype(np.int_))


def measure_curve(
    fit_predict: FitPredict, gold: Gold, draws: Sequence[Draw], sizes: NDArray[np.int_], title: str
) -> LearningCurve:
    """Fit classifiers to growing parts of each draw's training texts.

    Args:
        fit_predict: Fits a classifier; see `linear_probe` and `baseline.bag_of_words`.
        gold: The labels of all texts.
        draws: What to fit and what to predict.
        sizes: Numbers of training texts; see `curve_sizes`.
        title: What is going on, for a progress bar.
    """
    predicted = np.zeros((len(sizes), len(gold), len(gold.labels)), dtype=np.float32)
    times = np.zeros(len(gold), dtype=np.float32)
    for draw in track(draws, title, total=len(draws), unit="draws"):
        times[draw.test] += 1
        for place, size in enumerate(sizes.tolist()):
            scores = fit_predict(draw.train[:size], draw.test)
            predicted[place, draw.test] += predict_labels(scores, exclusive=gold.exclusive)
    test = np.flatnonzero(times)
    values = gold.values[test]
    return LearningCurve(
        gold.labels,
        gold.exclusive,
        sizes,
        np.nan_to_num(values) >= GOLD_THRESHOLD,
        ~np.isnan(values),
        predicted[:, test] / times[test, np.newaxis],
    )


def predict_labels(scores: FloatArray, *, exclusive: bool) -> BoolArray:
    """Decide which labels apply: the highest score, or those that give the highest expected F.

    If probabilities are right, a label that has more than half the highest micro F that can be
    reached raises it (Lipton et al. 2014, "Optimal Thresholding of Classifiers to Maximize F1
    Measure", theorem 1). So no labeled texts are needed to choose the threshold.

    Args:
        scores: Probabilities. *Shape:* (texts, labels)
    """
    if exclusive:
        return decide(scores, np.zeros(scores.shape[1]), exclusive=True)
    ordered = np.sort(scores, axis=None)[::-1]
    f = 2 * ordered.cumsum() / (np.arange(1, len(ordered) + 1) + ordered.sum())
    thresholds = np.full(scores.shape[1], ordered[f.argmax()])
    return decide(scores, thresholds, exclusive=False)
