"""Whether a classifier that says 0.8 is right in 80 % of the cases."""

from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import Bools, EvalPrediction, Floats

__all__ = ["Bin", "calibration_error", "confidences", "reliability"]

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The decisions whose confidence is above `low` and at most `high`.

    Attributes:
        n: Their number.
        confidence: Their mean confidence; 0.0 if there are none.
        right: The share of them that is right; 0.0 if there are none.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


def confidences(decisions: EvalPrediction) -> tuple[Floats, Bools]:
    """How sure each decision was, and whether it was right, sorted. *Shape:* (decisions,) each

    With exclusive classes a text is one decision, whose confidence is the highest score. Otherwise
    each known label of a text is one, with the confidence p if it is predicted and 1 - p if not.
    """
    if decisions.exclusive:
        confidence = decisions.predicted.max(axis=1)
        right = decisions.correct
    else:
        scores = decisions.predicted[decisions.known]
        confidence = np.where(decisions.decided[decisions.known], scores, 1.0 - scores)
        right = ~decisions.wrong[decisions.known]
    # so that rounding doesn't depend on the order of the texts
    order = np.lexsort((right, confidence))
    return confidence[order], right[order]


def reliability(decisions: EvalPrediction, *, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal width: (0, 0.1], (0.1, 0.2] and so on."""
    confidence, right = confidences(decisions)
    edges = np.arange(bins + 1) / bins
    places = np.digitize(confidence, edges[1:-1], right=True)
    sizes = np.bincount(places, minlength=bins)
    divisors = np.maximum(sizes, 1)
    mean = np.bincount(places, weights=confidence, minlength=bins) / divisors
    share = np.bincount(places, weights=right, minlength=bins) / divisors
    columns = (edges[:-1], edges[1:], sizes, mean, share)
    return tuple(Bin(*row) for row in zip(*(each.tolist() for each in columns), strict=True))


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3).

    The difference between mean confidence and share of right decisions in each bin, averaged with
    the number of decisions in each bin as weight. From 0 (calibrated) to 1.
    """
    total = sum(each.n for each in bins)
    return sum(each.n * abs(each.right - each.confidence) for each in bins) / total
