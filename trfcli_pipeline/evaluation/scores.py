"""What a text classifier's answers are worth: every figure, from a table's to a report's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trfcli_pipeline.evaluation import metrics
from trfcli_pipeline.evaluation.bootstrap import Interval, intervals
from trfcli_pipeline.evaluation.calibration import Bin, calibration_error, reliability
from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    Bools,
    EvalPrediction,
    Threshold,
    decide,
)

__all__ = ["Confusion", "Evaluation", "LabelScore", "Mistake", "score_cats"]


@dataclass(frozen=True)
class LabelScore:
    """One row of the table of labels.

    Attributes:
        label: The label.
        precision, recall, f: As spaCy's Scorer gives them: 0.0 where nothing can be divided.
        support: Scored texts that have the label.
        auc: Area under the ROC curve, None unless some scored texts have the label and some don't.
        average_precision: None as `auc`.
        threshold: Score from which the label counts as predicted; None with exclusive classes.
    """

    label: str
    precision: float
    recall: float
    f: float
    support: int
    auc: float | None
    average_precision: float | None
    threshold: float | None


@dataclass(frozen=True)
class Mistake:
    """A text that was classified wrongly.

    Attributes:
        index: Its place in the texts, counted from 0.
        gold: The labels it has.
        predicted: The labels it was given; labels that the gold record leaves open are left out.
        label: The decision to look at: with exclusive classes the predicted label, else the wrong
            decision whose score is furthest from the threshold.
        score: What the classifier gave `label`, from 0 to 1.
    """

    index: int
    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    label: str
    score: float


@dataclass(frozen=True)
class Confusion:
    """How often texts with one label were given another."""

    gold: str
    predicted: str
    texts: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every figure about a classifier's decisions, each computed when it is first asked for.

    Attributes:
        decisions: About the texts whose gold record says enough to be scored; all figures are
            about these.
        n_texts: Texts given.
        seed: Seed of the bootstrap.
        n_words: spaCy tokens that aren't whitespace; None if no pipeline ran.
        seconds: Time the pipeline took, tokenisation included; None if no pipeline ran.
    """

    decisions: EvalPrediction
    n_texts: int
    seed: int = 0
    n_words: int | None = None
    seconds: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The classifier's labels, in its order. Rows and columns keep that order."""
        return self.decisions.labels

    @property
    def exclusive_classes(self) -> bool:
        """Whether every text has exactly one label."""
        return self.decisions.exclusive

    @property
    def threshold(self) -> float | dict[str, float] | None:
        """Score from which a label counts as predicted, of each label where they differ.

        None with exclusive classes, where the highest score decides.
        """
        if self.exclusive_classes:
            return None
        values = self.decisions.threshold.tolist()
        if len(set(values)) == 1:
            return float(values[0])
        return dict(zip(self.labels, values, strict=True))

    @property
    def n_scored(self) -> int:
        return len(self.decisions)

    @property
    def speed(self) -> float | None:
        """Words per second, None if no pipeline ran."""
        if self.n_words is None or not self.seconds:
            return None
        return self.n_words / self.seconds

    @cached_property
    def accuracy(self) -> float:
        """Share of scored texts with all labels right."""
        return int(self.decisions.correct.sum()) / self.n_scored

    @cached_property
    def cats(self) -> Mapping[str, Any]:
        """The `cats_*` scores of spaCy's Scorer, undefined ones as None."""
        return metrics.spacy_scores(self.decisions)

    @property
    def micro_f(self) -> float:
        """`cats_micro_f`: the F of all decisions together."""
        return float(self.cats["cats_micro_f"])

    @property
    def macro_f(self) -> float:
        """`cats_macro_f`: the mean F of all labels."""
        return float(self.cats["cats_macro_f"])

    @cached_property
    def macro_auc(self) -> float | None:
        """The mean AUC of the labels for which it is defined, None if there are none.

        In `cats_macro_auc` the others count as 0.0, which says nothing about the classifier.
        """
        return metrics.mean_of_defined(list(self.cats["cats_auc_per_type"].values()))

    @cached_property
    def average_precisions(self) -> Mapping[str, float | None]:
        """Average precision of each label, None unless some texts have the label and some don't."""
        values = metrics.average_precision(self.decisions)
        return dict(zip(self.labels, values, strict=True))

    @property
    def macro_average_precision(self) -> float | None:
        """The mean over the labels for which it is defined, None if there are none."""
        return metrics.mean_of_defined(list(self.average_precisions.values()))

    @cached_property
    def weighted(self) -> Mapping[str, float]:
        """`weighted_p`, `weighted_r` and `weighted_f`: means over labels, by their texts."""
        return metrics.weighted_scores(metrics.count(self.decisions))

    @cached_property
    def mcc(self) -> float:
        """Matthews correlation coefficient, from -1 to 1."""
        return metrics.matthews_correlation(self.decisions)

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """Confidence and share of right decisions, by confidence."""
        return reliability(self.decisions)

    @property
    def ece(self) -> float:
        """Expected calibration error, from 0 (calibrated) to 1."""
        return calibration_error(self.reliability)

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """95 % bootstrap intervals of `accuracy`, `cats_micro_f` and `cats_macro_f`."""
        return intervals(self.decisions, seed=self.seed)

    @cached_property
    def label_scores(self) -> tuple[LabelScore, ...]:
        """One for each label."""
        support = metrics.count(self.decisions).support
        thresholds = self.decisions.threshold.tolist()
        rows = []
        for column, label in enumerate(self.labels):
            prf = self.cats["cats_f_per_type"][label]
            rows.append(
                LabelScore(
                    label=label,
                    precision=prf["p"],
                    recall=prf["r"],
                    f=prf["f"],
                    support=int(support[column]),
                    auc=self.cats["cats_auc_per_type"][label],
                    average_precision=self.average_precisions[label],
                    threshold=None if self.exclusive_classes else thresholds[column],
                )
            )
        return tuple(rows)

    @cached_property
    def confusion_matrix(self) -> tuple[tuple[int, ...], ...] | None:
        """Counts of texts, one row for each gold label, one column for each predicted label.

        None unless the classes are exclusive.
        """
        if not self.exclusive_classes:
            return None
        return tuple(tuple(row) for row in metrics.confusion_matrix(self.decisions).tolist())

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """The pairs of labels that were confused, the most frequent first."""
        pairs = [
            Confusion(gold, predicted, texts)
            for gold, row in zip(self.labels, self.confusion_matrix or (), strict=False)
            for predicted, texts in zip(self.labels, row, strict=True)
            if texts and gold != predicted
        ]
        return tuple(sorted(pairs, key=_texts, reverse=True))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Wrong texts, the least sure first."""
        return tuple(_mistakes(self.decisions))

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: plain JSON values, with None for what isn't defined."""
        matrix = self.confusion_matrix
        return {
            **self.cats,
            "accuracy": self.accuracy,
            **self.weighted,
            "mcc": self.mcc,
            "macro_auc": self.macro_auc,
            "macro_average_precision": self.macro_average_precision,
            "average_precision_per_type": dict(self.average_precisions),
            "ece": self.ece,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "speed": self.speed,
            "n_texts": self.n_texts,
            "n_scored": self.n_scored,
            "n_words": self.n_words,
            "labels": list(self.labels),
            "texts_per_type": {row.label: row.support for row in self.label_scores},
            "exclusive_classes": self.exclusive_classes,
            "threshold": self.threshold,
            "confusion_matrix": None if matrix is None else [list(row) for row in matrix],
        }


def score_cats(
    gold: Sequence[Mapping[str, float | None]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    *,
    exclusive: bool,
    threshold: Threshold = DEFAULT_THRESHOLD,
    seed: int = 0,
) -> Evaluation:
    """Compare predicted categories with gold ones.

    Args and errors are those of `trfcli_pipeline.evaluation.eval_prediction.decide`.

    Args:
        seed: Seed of the bootstrap.
    """
    decisions = decide(gold, predicted, labels, exclusive=exclusive, threshold=threshold)
    return Evaluation(decisions, n_texts=len(gold), seed=seed)


def _texts(confusion: Confusion) -> int:
    return confusion.texts


def _mistakes(decisions: EvalPrediction) -> list[Mistake]:
    candidates: Bools = decisions.wrong
    sureness = np.abs(decisions.predicted - decisions.threshold)
    if decisions.exclusive:
        # the wrong label that was predicted tells more than the right one that wasn't
        candidates = decisions.wrong & decisions.decided
        sureness = decisions.predicted
    sureness = np.where(candidates, sureness, -np.inf)
    columns = sureness.argmax(axis=1)
    rows = np.flatnonzero(candidates.any(axis=1))
    rows = rows[np.argsort(sureness.max(axis=1)[rows], kind="stable")]
    return [
        Mistake(
            index=int(decisions.indices[row]),
            gold=_select(decisions.labels, decisions.is_gold[row]),
            predicted=_select(decisions.labels, decisions.decided[row] & decisions.known[row]),
            label=decisions.labels[columns[row]],
            score=float(decisions.predicted[row, columns[row]]),
        )
        for row in rows.tolist()
    ]


def _select(labels: Sequence[str], mask: Bools) -> tuple[str, ...]:
    return tuple(labels[column] for column in np.flatnonzero(mask).tolist())
