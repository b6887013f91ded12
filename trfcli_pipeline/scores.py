"""How good a text classifier is: spaCy's own scores, and the few numbers spaCy doesn't give.

The scores named `cats_*` come from `spacy.scorer.Scorer.score_cats`, so that they can be compared
with those of any other spaCy pipeline. Accuracy with its interval, calibration error, confusion
matrix and the list of mistakes are computed here.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.errors import DataError, PipelineError

__all__ = ["Evaluation", "LabelScore", "Mistake", "check_arguments", "read_gold", "score_cats"]

RESAMPLES = 1000
CALIBRATION_BINS = 10
# float32 heads overshoot 1.0 by a rounding error; anything more isn't a probability
ROUNDING = 1e-6


@dataclass(frozen=True)
class LabelScore:
    """One row of the table of labels.

    Attributes:
        label: The label.
        precision, recall, f: As spaCy's Scorer gives them: 0.0 where nothing can be divided.
        support: Scored texts that have the label.
        auc: Area under the ROC curve, None unless some scored texts have the label and some don't.
    """

    label: str
    precision: float
    recall: float
    f: float
    support: int
    auc: float | None


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
class Evaluation:
    """Everything that a table in the terminal or a metrics.json needs.

    Attributes:
        labels: The classifier's labels, in its order. Rows and columns below keep that order.
        exclusive_classes: Whether every text has exactly one label.
        threshold: Score from which a label counts as predicted; None with exclusive classes, where
            the highest score decides.
        n_texts: Texts given.
        n_scored: Texts whose gold record says enough to be scored. All numbers are about these.
        accuracy: Share of scored texts with all labels right.
        accuracy_interval: Its 95 % percentile bootstrap interval, (low, high).
        ece: Expected calibration error, from 0 (calibrated) to 1.
        cats: The `cats_*` scores of spaCy's Scorer, undefined ones as None.
        label_scores: One for each label.
        confusion_matrix: Counts of texts, one row for each gold label, one column for each
            predicted label; None unless the classes are exclusive.
        mistakes: Wrong texts, the least sure first.
        n_words: spaCy tokens that aren't whitespace; None if no pipeline ran.
        seconds: Time the pipeline took, tokenisation included; None if no pipeline ran.
    """

    labels: tuple[str, ...]
    exclusive_classes: bool
    threshold: float | None
    n_texts: int
    n_scored: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    ece: float
    cats: Mapping[str, Any]
    label_scores: tuple[LabelScore, ...]
    confusion_matrix: tuple[tuple[int, ...], ...] | None
    mistakes: tuple[Mistake, ...]
    n_words: int | None = None
    seconds: float | None = None

    @property
    def speed(self) -> float | None:
        """Words per second, None if no pipeline ran."""
        if self.n_words is None or not self.seconds:
            return None
        return self.n_words / self.seconds

    @property
    def macro_f(self) -> float:
        """`cats_macro_f`: the mean F of all labels."""
        return float(self.cats["cats_macro_f"])

    @property
    def macro_auc(self) -> float | None:
        """`cats_macro_auc`: the mean AUC of all labels, None if a label's AUC isn't defined.

        spaCy counts such a label as 0.0, which stays so in `metrics`, but says nothing about the
        classifier.
        """
        if any(score.auc is None for score in self.label_scores):
            return None
        return float(self.cats["cats_macro_auc"])

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: plain JSON values, with None for what isn't defined."""
        matrix = self.confusion_matrix
        return {
            **self.cats,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "ece": self.ece,
            "speed": self.speed,
            "n_texts": self.n_texts,
            "n_scored": self.n_scored,
            "n_words": self.n_words,
            "labels": list(self.labels),
            "exclusive_classes": self.exclusive_classes,
            "threshold": self.threshold,
            "confusion_matrix": None if matrix is None else [list(row) for row in matrix],
        }


def score_cats(
    gold: Sequence[Mapping[str, float]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    *,
    exclusive: bool,
    threshold: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Compare predicted categories with gold ones.

    A gold score above 0 means that the text has the label, as in spaCy's Scorer. With exclusive
    classes the highest gold score is the text's label, labels that aren't mentioned are 0.0, and
    a text without any label isn't scored. Otherwise a label that a record doesn't mention, or
    whose score is None, is unknown for that text, and the prediction isn't scored.

    The predicted label of exclusive classes is the one with the highest score, the first in
    `labels` if several are highest.

    Args:
        gold: For each text its labels with scores from 0 to 1.
        predicted: For each text the scores from 0 to 1; a label that is missing counts as 0.0.
        labels: All labels of the classifier. Predictions for others are ignored.
        exclusive: Whether every text has exactly one label.
        threshold: Score from which a label counts as predicted, unless classes are exclusive.
        seed: Seed of the bootstrap.

    Raises:
        DataError: There are no texts, no gold labels at all, a gold label that isn't in `labels`,
            a gold score that isn't from 0 to 1, or more than one gold label though classes are
            exclusive.
        PipelineError: A text has no predicted score, or one that isn't from 0 to 1.
        ValueError: `gold` and `predicted` differ in length, or `threshold` isn't from 0 to 1.
    """
    check_arguments(len(predicted), len(gold), threshold)
    gold_scores = read_gold(gold, labels, exclusive=exclusive)
    scored = np.flatnonzero(~np.isnan(gold_scores).all(axis=1))
    decisions = _Decisions(
        labels=tuple(labels),
        exclusive=exclusive,
        threshold=threshold,
        indices=scored,
        gold=gold_scores[scored],
        predicted=_read_predicted(predicted, labels)[scored],
    )
    correct = int(decisions.correct.sum())
    cats = _spacy_scores(decisions)
    return Evaluation(
        labels=tuple(labels),
        exclusive_classes=exclusive,
        threshold=None if exclusive else threshold,
        n_texts=len(gold),
        n_scored=len(scored),
        accuracy=correct / len(scored),
        accuracy_interval=_bootstrap_interval(correct, len(scored), seed=seed),
        ece=_calibration_error(decisions),
        cats=cats,
        label_scores=_label_scores(cats, decisions),
        confusion_matrix=_confusion_matrix(decisions) if exclusive else None,
        mistakes=_mistakes(decisions),
    )


@dataclass(frozen=True)
class _Decisions:
    """The texts that can be scored, as arrays.

    *Shape:* indices (texts,), places in the original sequence; others (texts, labels).
    """

    labels: tuple[str, ...]
    exclusive: bool
    threshold: float
    indices: NDArray[np.int_]
    gold: NDArray[np.float64]  # NaN where it isn't known
    predicted: NDArray[np.float64]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.gold)

    @cached_property
    def is_gold(self) -> NDArray[np.bool_]:
        return self.gold == 1.0

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        if self.exclusive:
            best = self.predicted.argmax(axis=1)
            return np.arange(len(self.labels)) == best[:, np.newaxis]
        return self.predicted >= self.threshold

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        return self.known & (self.is_gold != self.decided)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """*Shape:* (texts,)."""
        correct: NDArray[np.bool_] = np.logical_and.reduce(~self.wrong, axis=1)
        return correct


def check_arguments(n_predicted: int, n_gold: int, threshold: float) -> None:
    if n_predicted != n_gold:
        raise ValueError(f"{n_predicted} texts, but {n_gold} gold records")
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be from 0 to 1, not {threshold}")


def read_gold(
    gold: Sequence[Mapping[str, float | None]], labels: Sequence[str], *, exclusive: bool
) -> NDArray[np.float64]:
    """Gold records as an array of 1.0, 0.0, and NaN for what a record leaves open.

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


def _read_exclusive(matrix: NDArray[np.float64], labels: Sequence[str]) -> None:
    """Turn rows into one-hot rows, in place; rows without a positive score become unknown."""
    filled = np.nan_to_num(matrix, nan=0.0)
    highest = filled.max(axis=1, keepdims=True)
    is_gold = (filled == highest) & (highest > 0.0)
    ambiguous = np.flatnonzero(is_gold.sum(axis=1) > 1)
    if ambiguous.size:
        row = int(ambiguous[0])
        names = _enumerate(_select(labels, is_gold[row]))
        raise DataError(
            f"Text {row + 1} has more than one label ({names}), but the classes are exclusive"
        )
    matrix[:] = np.where(highest > 0.0, is_gold, np.nan)


def _read_predicted(
    predicted: Sequence[Mapping[str, float]], labels: Sequence[str]
) -> NDArray[np.float64]:
    """*Shape:* (texts, labels)."""
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


def _spacy_scores(decisions: _Decisions) -> dict[str, Any]:
    scores = Scorer.score_cats(
        _examples(decisions),
        "cats",
        labels=decisions.labels,
        multi_label=not decisions.exclusive,
        threshold=decisions.threshold,
    )
    return {name: _plain(value) for name, value in scores.items()}


def _examples(decisions: _Decisions) -> Iterator[Example]:
    """The form in which spaCy's Scorer takes categories: on docs, here without words."""
    vocab = Vocab()
    rows = zip(decisions.gold.tolist(), decisions.predicted.tolist(), strict=True)
    for gold, predicted in rows:
        doc, reference = Doc(vocab), Doc(vocab)
        doc.cats = dict(zip(decisions.labels, predicted, strict=True))
        pairs = zip(decisions.labels, gold, strict=True)
        reference.cats = {label: score for label, score in pairs if not math.isnan(score)}
        yield Example(doc, reference)


def _plain(value: Any) -> Any:
    """A score as a JSON value: Python floats, and None for what isn't a number."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float):  # np.float64, too
        return float(value) if math.isfinite(value) else None
    return value


def _label_scores(cats: Mapping[str, Any], decisions: _Decisions) -> tuple[LabelScore, ...]:
    rows = []
    support = decisions.is_gold.sum(axis=0).tolist()
    for label, n_texts in zip(decisions.labels, support, strict=True):
        prf, auc = cats["cats_f_per_type"][label], cats["cats_auc_per_type"][label]
        rows.append(LabelScore(label, prf["p"], prf["r"], prf["f"], support=n_texts, auc=auc))
    return tuple(rows)


def _confusion_matrix(decisions: _Decisions) -> tuple[tuple[int, ...], ...]:
    """*Shape:* (gold labels, predicted labels)."""
    counts = decisions.is_gold.T.astype(np.int64) @ decisions.decided.astype(np.int64)
    return tuple(tuple(row) for row in counts.tolist())


def _bootstrap_interval(correct: int, total: int, *, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a share (Efron and Tibshirani 1993, chapter 13).

    Drawing `total` texts with replacement gives a binomially distributed number of correct ones,
    so that number is drawn directly. The interval then depends on the counts alone, and not on
    the order of the texts.
    """
    draws = np.random.default_rng(seed).binomial(total, correct / total, size=RESAMPLES)
    low, high = np.percentile(draws / total, (2.5, 97.5))
    return float(low), float(high)


def _calibration_error(decisions: _Decisions) -> float:
    """Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599, eq. 3).

    The difference between mean confidence and share of right decisions in bins of equal width,
    (0, 0.1], (0.1, 0.2] and so on, averaged with the number of decisions in each bin as weight.
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
    # sorted, so that rounding doesn't depend on the order of the texts
    order = np.lexsort((right, confidence))
    confidence, right = confidence[order], right[order]
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.digitize(confidence, edges, right=True)
    gaps = np.bincount(bins, weights=right) - np.bincount(bins, weights=confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def _mistakes(decisions: _Decisions) -> tuple[Mistake, ...]:
    candidates: NDArray[np.bool_] = decisions.wrong
    sureness = np.abs(decisions.predicted - decisions.threshold)
    if decisions.exclusive:
        # the wrong label that was predicted tells more than the right one that wasn't
        candidates = decisions.wrong & decisions.decided
        sureness = decisions.predicted
    sureness = np.where(candidates, sureness, -np.inf)
    columns = sureness.argmax(axis=1)
    rows = np.flatnonzero(candidates.any(axis=1))
    rows = rows[np.argsort(sureness.max(axis=1)[rows], kind="stable")]
    return tuple(
        Mistake(
            index=int(decisions.indices[row]),
            gold=_select(decisions.labels, decisions.is_gold[row]),
            predicted=_select(decisions.labels, decisions.decided[row] & decisions.known[row]),
            label=decisions.labels[columns[row]],
            score=float(decisions.predicted[row, columns[row]]),
        )
        for row in rows.tolist()
    )


def _select(labels: Sequence[str], mask: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(label for label, chosen in zip(labels, mask.tolist(), strict=True) if chosen)
