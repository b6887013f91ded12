"""Which labels texts have and which they were given, as arrays: what every score is made from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import DataError, PipelineError

__all__ = [
    "EvalPrediction",
    "Threshold",
    "check_arguments",
    "decide",
    "read_gold",
    "read_predicted",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
# One for all labels, or one for each; labels that a mapping leaves out have the default.
Threshold = float | Mapping[str, float]

DEFAULT_THRESHOLD = 0.5
# float32 heads overshoot 1.0 by a rounding error; anything more isn't a probability
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class EvalPrediction:
    """The texts that can be scored: what their labels are, and what a classifier made of them.

    *Shape:* (texts, labels), unless said otherwise.

    Attributes:
        labels: The labels, in the order of the columns.
        exclusive: Whether every text has exactly one label.
        threshold: The score from which each label counts as predicted, unless labels are
            exclusive: then the highest score decides, of equal ones the first. *Shape:* (labels,)
        indices: The texts' places among all texts that were given. *Shape:* (texts,)
        gold: 1.0 and 0.0, and NaN where it isn't known whether a text has a label.
        predicted: Scores from 0 to 1.
    """

    labels: tuple[str, ...]
    exclusive: bool
    threshold: Floats
    indices: NDArray[np.int_]
    gold: Floats
    predicted: Floats

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def known(self) -> Bools:
        """Where gold isn't NaN."""
        return ~np.isnan(self.gold)

    @cached_property
    def is_gold(self) -> Bools:
        return self.gold == 1.0

    @cached_property
    def decided(self) -> Bools:
        """Where a label was predicted, whether or not gold is known there."""
        if self.exclusive:
            best = self.predicted.argmax(axis=1)
            return np.arange(len(self.labels)) == best[:, np.newaxis]
        return self.predicted >= self.threshold

    @cached_property
    def wrong(self) -> Bools:
        return self.known & (self.is_gold != self.decided)

    @cached_property
    def correct(self) -> Bools:
        """Which texts have all their labels right. *Shape:* (texts,)"""
        correct: Bools = np.logical_and.reduce(~self.wrong, axis=1)
        return correct


def decide(
    gold: Sequence[Mapping[str, float | None]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    *,
    exclusive: bool,
    threshold: Threshold = DEFAULT_THRESHOLD,
) -> EvalPrediction:
    """Bring gold and predicted labels together, for the texts whose gold record says enough.

    A gold score above 0 means that the text has the label, as in spaCy's Scorer. With exclusive
    classes the highest gold score is the text's label, labels that aren't mentioned are 0.0, and
    a text without any label isn't scored. Otherwise a label that a record doesn't mention, or
    whose score is None, is unknown for that text, and the prediction isn't scored.

    Args:
        gold: For each text its labels with scores from 0 to 1.
        predicted: For each text the scores from 0 to 1; a label that is missing counts as 0.0.
        labels: All labels of the classifier. Predictions for others are ignored.
        exclusive: Whether every text has exactly one label.
        threshold: Score from which a label counts as predicted, unless classes are exclusive.

    Raises:
        DataError: There are no texts, no gold labels at all, a gold label that isn't in `labels`,
            a gold score that isn't from 0 to 1, or more than one gold label though classes are
            exclusive.
        PipelineError: A text has no predicted score, or one that isn't from 0 to 1.
        ValueError: `gold` and `predicted` differ in length, or a threshold isn't from 0 to 1.
    """
    check_arguments(len(predicted), len(gold), threshold)
    gold_scores = read_gold(gold, labels, exclusive=exclusive)
    scored = np.flatnonzero(~np.isnan(gold_scores).all(axis=1))
    return EvalPrediction(
        labels=tuple(labels),
        exclusive=exclusive,
        threshold=_threshold_row(threshold, labels),
        indices=scored,
        gold=gold_scores[scored],
        predicted=read_predicted(predicted, labels)[scored],
    )


def check_arguments(n_predicted: int, n_gold: int, threshold: Threshold) -> None:
    """Refuse what no data could make sense of.

    Raises:
        ValueError: The numbers of texts differ, or a threshold isn't from 0 to 1.
    """
    if n_predicted != n_gold:
        raise ValueError(f"{n_predicted} texts, but {n_gold} gold records")
    values = threshold.values() if isinstance(threshold, Mapping) else [threshold]
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"threshold must be from 0 to 1, not {value}")


def read_gold(
    gold: Sequence[Mapping[str, float | None]], labels: Sequence[str], *, exclusive: bool
) -> Floats:
    """Gold records as an array of 1.0, 0.0, and NaN for what a record leaves open; see `decide`.

    *Shape:* (texts, labels). With exclusive classes a row has one 1.0, or NaN only.
    """
    if not gold:
        raise DataError("There are no texts to evaluate")
    _check_gold_labels(gold, labels)
    matrix = np.full((len(gold), len(labels)), np.nan)
    columns = {label: column for column, label in enumerate(labels)}
    for row, record in enumerate(gold):
        for label, score in record.items():
            if score is None:
                continue
            if not 0.0 <= score <= 1.0:
                raise DataError(
                    f"Text {row + 1}: the score of {label!r} is {score}, not from 0 to 1"
                )
            matrix[row, columns[label]] = score
    if exclusive:
        _read_exclusive(matrix, labels)
    known = ~np.isnan(matrix)
    if not known.any():
        raise DataError("No text has a label, so there is nothing to score")
    return np.where(known, (matrix > 0.0).astype(np.float64), np.nan)


def read_predicted(predicted: Sequence[Mapping[str, float]], labels: Sequence[str]) -> Floats:
    """Predicted scores as an array; see `decide`. *Shape:* (texts, labels)"""
    for row, record in enumerate(predicted, start=1):
        if not any(label in record for label in labels):
            raise PipelineError(f"Text {row} was given no score for any label")
    matrix = np.array([[record.get(label, 0.0) for label in labels] for record in predicted])
    matrix = matrix.astype(np.float64)
    # a NaN fails both comparisons, so that it is caught too
    good = (matrix >= -ROUNDING) & (matrix <= 1.0 + ROUNDING)
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise PipelineError(
            f"Text {row + 1}: the predicted score of {labels[column]!r} is {matrix[row, column]}, "
            "not from 0 to 1"
        )
    return matrix


def _threshold_row(threshold: Threshold, labels: Sequence[str]) -> Floats:
    if isinstance(threshold, Mapping):
        return np.array([threshold.get(label, DEFAULT_THRESHOLD) for label in labels])
    return np.full(len(labels), float(threshold))


def _check_gold_labels(gold: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    known = set(labels)
    unknown = Counter(label for record in gold for label in record if label not in known)
    if not unknown:
        return
    first = next(row for row, record in enumerate(gold, start=1) if not known.issuperset(record))
    if len(unknown) == 1:
        subject, verb = "Label", "isn't"
    else:
        subject, verb = "Labels", "aren't"
    raise DataError(
        f"{subject} {_enumerate([repr(label) for label in unknown])} {verb} among the labels of "
        f"the text classifier (first in text {first})",
        hint=f"It knows {_enumerate(labels)}",
    )


def _enumerate(names: Sequence[str], *, limit: int = 10) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _read_exclusive(matrix: Floats, labels: Sequence[str]) -> None:
    """Turn rows into one-hot rows, in place; rows without a positive score become unknown."""
    filled = np.nan_to_num(matrix, nan=0.0)
    highest = filled.max(axis=1, keepdims=True)
    is_gold = (filled == highest) & (highest > 0.0)
    ambiguous = np.flatnonzero(is_gold.sum(axis=1) > 1)
    if ambiguous.size:
        row = int(ambiguous[0])
        names = _enumerate([labels[column] for column in np.flatnonzero(is_gold[row]).tolist()])
        raise DataError(
            f"Text {row + 1} has more than one label ({names}), but the classes are exclusive"
        )
    matrix[:] = np.where(highest > 0.0, is_gold, np.nan)
