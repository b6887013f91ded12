"""Texts with wrong predictions, and labels that are confused."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, EvalPrediction


@dataclass(frozen=True)
class Mistake:
    """A text with wrong predictions.

    Attributes:
        index: Index of the text, counted from 0.
        gold: Its gold labels.
        predicted: Its predicted labels, without those whose gold label is unknown.
        label: The wrong prediction that stands out most. If labels are exclusive, that is the
            predicted label, else the wrong label whose score is furthest from its threshold.
        score: Predicted score of `label`, from 0 to 1.
    """

    index: int
    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    label: str
    score: float


@dataclass(frozen=True)
class Confusion:
    """How many texts with one gold label were predicted to have another."""

    gold: str
    predicted: str
    texts: int


def find_mistakes(prediction: EvalPrediction) -> list[Mistake]:
    """Find the texts with wrong predictions, the least confident first."""
    candidates = prediction.wrong
    margin = np.abs(prediction.scores - prediction.thresholds)
    if prediction.exclusive:
        # The label that was wrongly predicted is more telling than the one that was missed.
        candidates = prediction.wrong & prediction.is_predicted
        margin = prediction.scores
    margin = np.where(candidates, margin, -np.inf)
    columns = margin.argmax(axis=1)
    rows = np.flatnonzero(candidates.any(axis=1))
    rows = rows[np.argsort(margin.max(axis=1)[rows], kind="stable")]
    shown = prediction.is_predicted & prediction.known
    return [
        Mistake(
            index=int(prediction.indices[row]),
            gold=_select(prediction.labels, prediction.is_gold[row]),
            predicted=_select(prediction.labels, shown[row]),
            label=prediction.labels[columns[row]],
            score=float(prediction.scores[row, columns[row]]),
        )
        for row in rows.tolist()
    ]


def count_confusions(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[Confusion]:
    """Count how often labels are confused, the most frequent pair first.

    Args:
        labels: The labels.
        matrix: Number of texts, one row per gold label, one column per predicted label; empty if
            labels aren't exclusive.
    """
    pairs = [
        Confusion(gold, predicted, texts)
        for gold, row in zip(labels, matrix, strict=False)
        for predicted, texts in zip(labels, row, strict=True)
        if texts and gold != predicted
    ]
    return sorted(pairs, key=attrgetter("texts"), reverse=True)


def _select(labels: Sequence[str], mask: BoolArray) -> tuple[str, ...]:
    return tuple(labels[column] for column in np.flatnonzero(mask).tolist())
