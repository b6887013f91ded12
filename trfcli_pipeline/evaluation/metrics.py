"""Figures that say how good decisions are: spaCy's `cats_*`, and those that spaCy doesn't have.

Precision, recall and F are computed from counts, so that labels may be unknown for some texts, and
so that thousands of resamples are one array. What needs the ranking of scores is scikit-learn's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import Bools, EvalPrediction, Floats

__all__ = [
    "Counts",
    "average_precision",
    "confusion_matrix",
    "count",
    "matthews_correlation",
    "mean_of_defined",
    "precision_recall_curve",
    "precision_recall_f",
    "roc_auc",
    "spacy_scores",
    "weighted_scores",
]


@dataclass(frozen=True, eq=False)
class Counts:
    """How often a label was predicted rightly, predicted wrongly, and missed.

    *Shape:* (..., labels)
    """

    tp: Floats
    fp: Floats
    fn: Floats

    def pooled(self) -> "Counts":
        """The sums over labels. *Shape:* (..., 1)"""
        return Counts(*(each.sum(axis=-1, keepdims=True) for each in (self.tp, self.fp, self.fn)))

    @property
    def support(self) -> Floats:
        """Texts that have the label."""
        return self.tp + self.fn

    @property
    def seen(self) -> Bools:
        """Where a label occurs, in gold or in predictions."""
        return self.tp + self.fp + self.fn > 0


def count(decisions: EvalPrediction) -> Counts:
    """*Shape:* (labels,)"""
    gold, decided, known = decisions.is_gold, decisions.decided, decisions.known
    return Counts(
        tp=(gold & decided).sum(axis=0).astype(np.float64),
        fp=(known & ~gold & decided).sum(axis=0).astype(np.float64),
        fn=(gold & ~decided).sum(axis=0).astype(np.float64),
    )


def precision_recall_f(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F of each label, 0.0 where nothing can be divided.

    *Shape:* (..., labels) each
    """
    precision = _share(counts.tp, counts.tp + counts.fp)
    recall = _share(counts.tp, counts.tp + counts.fn)
    return precision, recall, _share(2 * precision * recall, precision + recall)


def spacy_scores(decisions: EvalPrediction) -> dict[str, Any]:
    """What `spacy.scorer.Scorer.score_cats` gives, under its names.

    The same numbers, but with a threshold for each label, and in a fraction of the time. As with
    spaCy, a label that no text has counts as 0.0 in the macro averages.
    """
    counts = count(decisions)
    per_label = precision_recall_f(counts)
    micro = precision_recall_f(counts.pooled())
    auc = roc_auc(decisions)
    scores: dict[str, Any] = {"cats_score": None, "cats_score_desc": None}
    scores.update({f"cats_micro_{x}": float(v[0]) for x, v in zip("prf", micro, strict=True)})
    scores.update(
        {f"cats_macro_{x}": float(v.mean()) for x, v in zip("prf", per_label, strict=True)}
    )
    scores["cats_macro_auc"] = sum(each or 0.0 for each in auc) / len(auc)
    rows = zip(decisions.labels, *(values.tolist() for values in per_label), strict=True)
    scores["cats_f_per_type"] = {label: {"p": p, "r": r, "f": f} for label, p, r, f in rows}
    scores["cats_auc_per_type"] = dict(zip(decisions.labels, auc, strict=True))
    chosen = "cats_macro_f" if decisions.exclusive else "cats_macro_auc"
    scores["cats_score"] = scores[chosen]
    scores["cats_score_desc"] = "macro F" if decisions.exclusive else "macro AUC"
    return scores


def weighted_scores(counts: Counts) -> dict[str, float]:
    """Precision, recall and F averaged over labels, by the number of texts that have them."""
    total = counts.support.sum()
    values = precision_recall_f(counts)
    return {
        f"weighted_{name}": float((each * counts.support).sum() / total) if total else 0.0
        for name, each in zip("prf", values, strict=True)
    }


def roc_auc(decisions: EvalPrediction) -> list[float | None]:
    """Area under the ROC curve of each label.

    None unless some scored texts have the label and some don't.
    """
    from sklearn.metrics import roc_auc_score

    return _per_label(decisions, roc_auc_score)


def average_precision(decisions: EvalPrediction) -> list[float | None]:
    """Average precision of each label, the area under its precision-recall curve without
    interpolation; None as in `roc_auc`."""
    from sklearn.metrics import average_precision_score

    return _per_label(decisions, average_precision_score)


def precision_recall_curve(
    decisions: EvalPrediction, column: int | None = None, *, points: int = 100
) -> list[tuple[float, float]]:
    """Recall and precision as the threshold falls, of one label or of all together.

    Args:
        points: About so many, at recalls evenly apart.

    Returns:
        Pairs of recall and precision, none if no text has the label.
    """
    from sklearn import metrics

    chosen = slice(None) if column is None else slice(column, column + 1)
    known = decisions.known[:, chosen]
    gold, scores = decisions.is_gold[:, chosen][known], decisions.predicted[:, chosen][known]
    if not gold.any():
        return []
    precision, recall, _ = metrics.precision_recall_curve(gold, scores)
    # From the highest threshold on; of points with the same recall, the first has most precision.
    precision, recall = precision[::-1], recall[::-1]
    places = np.unique(np.searchsorted(recall, np.linspace(0, 1, points + 1)))
    return list(zip(recall[places].tolist(), precision[places].tolist(), strict=True))


def mean_of_defined(values: Sequence[float | None]) -> float | None:
    """The mean of the values that aren't None; None if there are none."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def matthews_correlation(decisions: EvalPrediction) -> float:
    """Matthews correlation coefficient, from -1 to 1; 0.0 is chance.

    With exclusive classes it is the one for several classes (Gorodkin 2004). Otherwise each known
    label of a text is one decision.
    """
    from sklearn.metrics import matthews_corrcoef

    if decisions.exclusive:
        gold, decided = decisions.is_gold.argmax(axis=1), decisions.decided.argmax(axis=1)
    else:
        gold, decided = decisions.is_gold[decisions.known], decisions.decided[decisions.known]
    if len(np.union1d(gold, decided)) < 2:
        return 0.0  # there was nothing to tell apart; scikit-learn says so too, with a warning
    return float(matthews_corrcoef(gold, decided))


def confusion_matrix(decisions: EvalPrediction) -> NDArray[np.int_]:
    """Counts of texts with exclusive labels. *Shape:* (gold labels, predicted labels)"""
    n = len(decisions.labels)
    gold, decided = decisions.is_gold.argmax(axis=1), decisions.decided.argmax(axis=1)
    return np.bincount(gold * n + decided, minlength=n * n).reshape(n, n)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _per_label(
    decisions: EvalPrediction, metric: Callable[[Bools, Floats], float]
) -> list[float | None]:
    values: list[float | None] = []
    for column in range(len(decisions.labels)):
        known = decisions.known[:, column]
        gold = decisions.is_gold[known, column]
        both = gold.any() and not gold.all()
        values.append(float(metric(gold, decisions.predicted[known, column])) if both else None)
    return values
