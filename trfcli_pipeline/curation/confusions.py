"""Pairs of labels that the people who gave them confuse."""

from collections.abc import Sequence
from typing import NamedTuple

from trfcli_pipeline.evaluation.bootstrap import LEVEL
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.evaluation.selective import Interval


class Confusion(NamedTuple):
    """Two labels, one of which is given where the other one is right.

    Attributes:
        labels: The two labels; the first one is given in place of the second more often.
        texts: Expected number of texts with either error.
        interval: A 95 % interval of that number.
    """

    labels: tuple[str, str]
    texts: float
    interval: Interval


def find_confusions(pairs: FloatArray, labels: Sequence[str]) -> list[Confusion]:
    """Find the pairs of labels that are confused, the most frequent first.

    Only those whose interval excludes less than one text. The number of rare errors among many
    texts has a Poisson distribution (Le Cam 1960, "An Approximation Theorem for the Poisson
    Binomial Distribution").

    Args:
        pairs: Expected number of texts; see `LabelErrors.pairs`.
        labels: The labels, in the order of the rows and columns.
    """
    from scipy.stats import poisson

    found = []
    for one in range(len(labels)):
        for other in range(one):
            texts = float(pairs[one, other] + pairs[other, one])
            low, high = (float(bound) for bound in poisson.interval(LEVEL, texts))
            if low >= 1:
                given, true = sorted((one, other), key=lambda row: -pairs[row, one + other - row])
                found.append(Confusion((labels[given], labels[true]), texts, (low, high)))
    return sorted(found, key=lambda each: -each.texts)
