"""Selective prediction: answer the texts that the classifier is confident about, and no others.

El-Yaniv and Wiener 2010, "On the Foundations of Noise-free Selective Classification".
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray

Interval = tuple[float, float]

# Probability that a chosen threshold keeps its promise.
CONFIDENCE = 0.9
# The shares of texts at which the chains of tests start, and in which steps they go on.
_STARTS = (0.5, 0.25, 0.125)
_STEP = 0.01


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The error rate of the most confident texts, for each number of them.

    Attributes:
        coverage: Share of the texts that are answered, ascending. *Shape:* (points,)
        risk: Share of errors among the answered texts. *Shape:* (points,)
    """

    coverage: FloatArray
    risk: FloatArray

    @property
    def area(self) -> float:
        """Area under the curve (AURC): the mean risk over all coverages; lower is better.

        Geifman et al. 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers",
        section 2.
        """
        widths = np.diff(self.coverage, prepend=0.0)
        return float((widths * self.risk).sum())

    def accuracy_at(self, coverage: float) -> float:
        """Accuracy of the most confident texts that make up at least this share of all."""
        place = int(np.searchsorted(self.coverage, coverage - 1e-9))
        return 1.0 - float(self.risk[min(place, len(self.risk) - 1)])


def risk_coverage(confidence: FloatArray, correct: BoolArray) -> RiskCoverage:
    """Compute the curve of risk against coverage.

    Texts with the same confidence are answered together.

    Args:
        confidence: Confidence in the answer to each text. *Shape:* (texts,)
        correct: Whether the answer is correct. *Shape:* (texts,)
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    is_last = np.append(ranked[1:] != ranked[:-1], True)
    answered = np.arange(1, len(ranked) + 1)[is_last]
    errors = np.cumsum(~correct[order])[is_last]
    return RiskCoverage(answered / len(ranked), errors / answered)


def choose_for_coverage(confidence: FloatArray, coverage: float) -> float:
    """Choose the lowest confidence with an answer such that a share of the texts is answered.

    Args:
        confidence: *Shape:* (texts,)
        coverage: The share, from 0 to 1.
    """
    ranked = np.sort(confidence)[::-1]
    return _threshold(ranked, max(int(np.ceil(coverage * len(ranked) - 1e-9)), 1))


def choose_for_accuracy(
    confidence: FloatArray, correct: BoolArray, accuracy: float
) -> float | None:
    """Choose the lowest confidence with an answer such that enough of the answers are correct.

    Among many thresholds, some have a high accuracy by chance. So each one is tested, and the
    chosen one has at least this accuracy on new texts of the same kind with a probability of 90 %.
    The tests are in a fixed order, from few texts to all, and end with the first that fails
    (fixed sequence testing in Angelopoulos et al. 2021, "Learn then Test",
    https://arxiv.org/abs/2110.01052, section 3.1). There are several such chains: the one that
    starts with half of the texts may fail by chance in 5 % of cases, the next one in 2.5 % and so
    on, so that a classifier for difficult texts gets a threshold, too.

    Args:
        confidence: *Shape:* (texts,)
        correct: *Shape:* (texts,)
        accuracy: The share of the answers that are to be correct.

    Returns:
        The threshold; 0.0 if all texts can be answered, None if there is no such threshold.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, errors = confidence[order], np.cumsum(~correct[order])
    most, failure = 0, 1.0 - CONFIDENCE
    for start in _STARTS:
        failure /= 2
        for answered in _chain(len(ranked), start):
            if accuracy_bound(answered - int(errors[answered - 1]), answered, failure) < accuracy:
                break
            most = max(most, answered)
    return _threshold(ranked, most) if most else None


def accuracy_bound(correct: float, answered: int, failure: float = 1.0 - CONFIDENCE) -> float:
    """A lower bound of the accuracy that is too high with a probability of at most `failure`.

    Clopper and Pearson 1934, one-sided.
    """
    # scipy is slow to import, and predicting doesn't need it.
    from scipy.special import betaincinv

    return float(betaincinv(correct, answered - correct + 1, failure)) if correct else 0.0


def share_interval(count: float, total: int) -> Interval:
    """95 % interval of a share (Clopper and Pearson 1934)."""
    low = accuracy_bound(count, total, failure=0.025)
    return low, 1.0 - accuracy_bound(total - count, total, failure=0.025)


def _chain(total: int, start: float) -> Iterator[int]:
    """Numbers of texts to answer, from a share of them to all."""
    for share in np.arange(start, 1.0 + _STEP / 2, _STEP):
        answered = int(np.ceil(share * total - 1e-9))
        if answered:
            yield min(answered, total)


def _threshold(ranked: FloatArray, answered: int) -> float:
    """The threshold at which so many texts are answered.

    It is halfway to the next confidence, so that rounding doesn't change who is answered.

    Args:
        ranked: Confidences in descending order. *Shape:* (texts,)
        answered: Number of texts to answer, at least one.
    """
    if answered >= len(ranked):
        return 0.0
    return float(ranked[answered - 1] + ranked[answered]) / 2
