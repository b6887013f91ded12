"""Gold labels and predicted scores as arrays, from which all metrics are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.data.records import GOLD_THRESHOLD
from trfcli_pipeline.errors import DataError, PipelineError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
# One threshold for all labels, or one per label. Labels missing from the mapping get the default.
Threshold = float | Mapping[str, float]

DEFAULT_THRESHOLD = 0.5
# Softmax and sigmoid in float32 may exceed 1.0 by a rounding error.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class EvalPrediction:
    """Gold labels and predicted scores of the texts that can be scored.

    *Shape:* (texts, labels) unless stated otherwise.

    Attributes:
        labels: The labels, in column order.
        exclusive: Whether every text has exactly one label.
        thresholds: Decision threshold of each label, for multi-label classifiers; see `decide`.
            *Shape:* (labels,)
        indices: Index of each text among all texts that were given. *Shape:* (texts,)
        gold: 1.0 or 0.0, and NaN where the gold label is unknown.
        scores: Predicted scores from 0 to 1.
    """

    labels: tuple[str, ...]
    exclusive: bool
    thresholds: FloatArray
    indices: NDArray[np.int_]
    gold: FloatArray
    scores: FloatArray

    @classmethod
    def from_cats(
        cls,
        gold: Sequence[Mapping[str, float | None]],
        predicted: Sequence[Mapping[str, float]],
        labels: Sequence[str],
        *,
        exclusive: bool,
        threshold: Threshold = DEFAULT_THRESHOLD,
    ) -> "EvalPrediction":
        """Build the arrays from `Doc.cats`, without the texts that have no gold labels.

        A label applies if its gold score is at least `GOLD_THRESHOLD`. With exclusive labels,
        labels that aren't mentioned don't apply, and a text to which none applies isn't scored. In
        multi-label data, a label that a record doesn't mention, or whose score is None, is unknown
        and isn't scored.

        Args:
            gold: For each text, its labels with scores from 0 to 1. With exclusive labels, at most
                one applies. Labels that the classifier doesn't know are ignored.
            predicted: For each text, the predicted scores from 0 to 1. A missing label counts as
                0.0.
            labels: All labels of the classifier. Predictions of other labels are ignored.
            exclusive: Whether every text has exactly one label.
            threshold: Decision threshold of multi-label classifiers.

        Raises:
            DataError: There are no texts or no gold labels, or several exclusive labels of a text.
            PipelineError: A text has no predicted scores, or a score isn't between 0 and 1.
        """
        gold_scores = read_gold(gold, labels, exclusive=exclusive)
        scored = np.flatnonzero(~np.isnan(gold_scores).all(axis=1))
        return cls(
            labels=tuple(labels),
            exclusive=exclusive,
            thresholds=threshold_row(threshold, labels),
            indices=scored,
            gold=gold_scores[scored],
            scores=read_scores(predicted, labels)[scored],
        )

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def known(self) -> BoolArray:
        """Where the gold label is known."""
        return ~np.isnan(self.gold)

    @cached_property
    def is_gold(self) -> BoolArray:
        return self.gold == 1.0

    @cached_property
    def is_predicted(self) -> BoolArray:
        """Where a label is predicted, whether or not its gold label is known."""
        return decide(self.scores, self.thresholds, exclusive=self.exclusive)

    @cached_property
    def wrong(self) -> BoolArray:
        return self.known & (self.is_gold != self.is_predicted)

    @cached_property
    def correct(self) -> BoolArray:
        """Whether all labels of a text are predicted correctly. *Shape:* (texts,)"""
        correct: BoolArray = np.logical_and.reduce(~self.wrong, axis=1)
        return correct


def read_gold(
    gold: Sequence[Mapping[str, float | None]], labels: Sequence[str], *, exclusive: bool
) -> FloatArray:
    """Gold records as an array of 1.0, 0.0, and NaN where unknown; see `EvalPrediction.from_cats`.

    *Shape:* (texts, labels). With exclusive labels a row has exactly one 1.0, or only NaN.
    """
    if not gold:
        raise DataError("There are no texts to evaluate")
    # None becomes NaN.
    matrix = np.array([[record.get(label) for label in labels] for record in gold], np.float64)
    # NaN isn't at least anything.
    applies, known = matrix >= GOLD_THRESHOLD, ~np.isnan(matrix)
    if exclusive:
        numbers = applies.sum(axis=1, keepdims=True)
        if numbers.max() > 1:
            row = int(numbers.argmax())
            raise DataError(f"Text {row + 1}: the labels are exclusive, but several apply")
        known = np.broadcast_to(numbers == 1, matrix.shape)
    if not known.any():
        raise DataError("No text has a gold label, so there is nothing to score")
    return np.where(known, applies, np.nan)


def read_scores(predicted: Sequence[Mapping[str, float]], labels: Sequence[str]) -> FloatArray:
    """Predicted scores as an array; see `EvalPrediction.from_cats`. *Shape:* (texts, labels)"""
    for row, record in enumerate(predicted, start=1):
        if not any(label in record for label in labels):
            raise PipelineError(f"Text {row}: the pipeline predicted no score for any label")
    matrix = np.array([[record.get(label, 0.0) for label in labels] for record in predicted])
    matrix = matrix.astype(np.float64)
    # NaN fails both comparisons.
    good = (matrix >= -ROUNDING) & (matrix <= 1.0 + ROUNDING)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise PipelineError(
            f"Text {row + 1}: the predicted score of {labels[column]!r} is {matrix[row, column]}, "
            "not between 0 and 1"
        )
    return matrix


def decide(scores: FloatArray, thresholds: FloatArray, *, exclusive: bool) -> BoolArray:
    """Decide which labels apply.

    With exclusive labels the highest score wins, and the first of equal scores. Otherwise a label
    applies if its score is at least its threshold.

    Args:
        scores: *Shape:* (texts, labels)
        thresholds: Ignored if labels are exclusive. *Shape:* (labels,)
        exclusive: Whether exactly one label applies to each text.

    Returns:
        *Shape:* (texts, labels)
    """
    if exclusive:
        return np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, np.newaxis]
    return scores >= thresholds


def threshold_row(threshold: Threshold, labels: Sequence[str]) -> FloatArray:
    """The decision threshold of each label. *Shape:* (labels,)"""
    if isinstance(threshold, Mapping):
        return np.array([threshold.get(label, DEFAULT_THRESHOLD) for label in labels])
    return np.full(len(labels), float(threshold))
