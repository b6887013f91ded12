"""Calibration: whether 80 % of the predictions with a confidence of 0.8 are correct."""

from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, EvalPrediction, FloatArray

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The predictions with a confidence above `low` and at most `high`.

    Attributes:
        n: Number of predictions.
        confidence: Their mean confidence; 0.0 if there are none.
        accuracy: The share that is correct; 0.0 if there are none.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def confidences(prediction: EvalPrediction) -> tuple[FloatArray, BoolArray]:
    """Confidence of each prediction and whether it is correct, sorted.

    With exclusive labels, each text is one prediction, and its highest score is the confidence. In
    multi-label data, each known label of a text is one prediction. With a score of p, its
    confidence is p if the label is predicted and 1 - p if it isn't.

    Returns:
        Two arrays. *Shape:* (predictions,) each
    """
    if prediction.exclusive:
        confidence = prediction.scores.max(axis=1)
        correct = prediction.correct
    else:
        known = prediction.known
        scores = prediction.scores[known]
        confidence = np.where(prediction.is_predicted[known], scores, 1.0 - scores)
        correct = ~prediction.wrong[known]
    # Sorting makes rounding independent of the order of the texts.
    order = np.lexsort((correct, confidence))
    return confidence[order], correct[order]


def reliability(prediction: EvalPrediction, *, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal width: (0, 0.1], (0.1, 0.2] and so on."""
    confidence, correct = confidences(prediction)
    edges = np.arange(bins + 1) / bins
    places = np.digitize(confidence, edges[1:-1], right=True)
    sizes = np.bincount(places, minlength=bins)
    divisors = np.maximum(sizes, 1)
    mean = np.bincount(places, weights=confidence, minlength=bins) / divisors
    accuracy = np.bincount(places, weights=correct, minlength=bins) / divisors
    columns = (edges[:-1], edges[1:], sizes, mean, accuracy)
    return tuple(Bin(*row) for row in zip(*(each.tolist() for each in columns), strict=True))


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3).

    The mean absolute difference between confidence and accuracy over the bins, weighted by the
    number of predictions in each bin. From 0 (calibrated) to 1.
    """
    total = sum(each.n for each in bins)
    return sum(each.n * abs(each.accuracy - each.confidence) for each in bins) / total
