"""Evaluation metrics for text classifiers: spaCy's `cats_*` scores, and those spaCy lacks.

Precision, recall and F are computed from counts. That allows for unknown gold labels, and for
thousands of bootstrap resamples in one array. Ranking metrics come from scikit-learn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, EvalPrediction, FloatArray


@dataclass(frozen=True, eq=False)
class Counts:
    """True positives, false positives and false negatives of each label.

    *Shape:* (..., labels)
    """

    tp: FloatArray
    fp: FloatArray
    fn: FloatArray

    def pooled(self) -> "Counts":
        """The sums over labels. *Shape:* (..., 1)"""
        return Counts(*(each.sum(axis=-1, keepdims=True) for each in (self.tp, self.fp, self.fn)))

    @property
    def support(self) -> FloatArray:
        """Number of texts with the gold label."""
        return self.tp + self.fn

    @property
    def seen(self) -> BoolArray:
        """Whether a label occurs among the gold or the predicted labels."""
        return self.tp + self.fp + self.fn > 0


def count(prediction: EvalPrediction) -> Counts:
    """Count the outcomes of each label. *Shape:* (labels,) each"""
    gold, predicted, known = prediction.is_gold, prediction.is_predicted, prediction.known
    return Counts(
        tp=(gold & predicted).sum(axis=0).astype(np.float64),
        fp=(known & ~gold & predicted).sum(axis=0).astype(np.float64),
        fn=(gold & ~predicted).sum(axis=0).astype(np.float64),
    )


def precision_recall_f(counts: Counts) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Precision, recall and F of each label, 0.0 where undefined.

    *Shape:* (..., labels) each
    """
    precision = _ratio(counts.tp, counts.tp + counts.fp)
    recall = _ratio(counts.tp, counts.tp + counts.fn)
    return precision, recall, _ratio(2 * precision * recall, precision + recall)


def spacy_scores(prediction: EvalPrediction) -> dict[str, Any]:
    """The scores of `spacy.scorer.Scorer.score_cats`, with a decision threshold per label.

    Same keys and values as spaCy, but faster. As in spaCy, a label without any text counts as 0.0
    in the macro averages.
    """
    counts = count(prediction)
    per_label = [each.tolist() for each in precision_recall_f(counts)]
    micro = precision_recall_f(counts.pooled())
    auc = roc_auc(prediction)
    n_labels = len(prediction.labels)
    scores: dict[str, Any] = {"cats_score": None, "cats_score_desc": None}
    scores.update({f"cats_micro_{x}": float(v[0]) for x, v in zip("prf", micro, strict=True)})
    # Python's sum adds up in the same order as spaCy, so that not even the last bit differs.
    scores.update(
        {f"cats_macro_{x}": sum(v) / n_labels for x, v in zip("prf", per_label, strict=True)}
    )
    scores["cats_macro_auc"] = sum(each or 0.0 for each in auc) / n_labels
    rows = zip(prediction.labels, *per_label, strict=True)
    scores["cats_f_per_type"] = {label: {"p": p, "r": r, "f": f} for label, p, r, f in rows}
    scores["cats_auc_per_type"] = dict(zip(prediction.labels, auc, strict=True))
    chosen = "cats_macro_f" if prediction.exclusive else "cats_macro_auc"
    scores["cats_score"] = scores[chosen]
    scores["cats_score_desc"] = "macro F" if prediction.exclusive else "macro AUC"
    return scores


def weighted_scores(counts: Counts) -> dict[str, float]:
    """Precision, recall and F averaged over labels, weighted by support."""
    total = counts.support.sum()
    values = precision_recall_f(counts)
    return {
        f"weighted_{name}": float((each * counts.support).sum() / total) if total else 0.0
        for name, each in zip("prf", values, strict=True)
    }


def roc_auc(prediction: EvalPrediction) -> list[float | None]:
    """Area under the ROC curve of each label.

    None unless some scored texts have the label and some don't.
    """
    from sklearn.metrics import roc_auc_score

    return _per_label(prediction, roc_auc_score)


def average_precision(prediction: EvalPrediction) -> list[float | None]:
    """Average precision of each label: the area under its precision-recall curve.

    The curve isn't interpolated. None as in `roc_auc`.
    """
    from sklearn.metrics import average_precision_score

    return _per_label(prediction, average_precision_score)


def precision_recall_curve(
    prediction: EvalPrediction, column: int | None = None, *, points: int = 100
) -> list[tuple[float, float]]:
    """Recall and precision at falling thresholds, of one label or of all labels pooled.

    Args:
        points: Approximate number of points, spaced evenly by recall.

    Returns:
        Pairs of recall and precision; an empty list if no text has the label.
    """
    from sklearn import metrics

    chosen = slice(None) if column is None else slice(column, column + 1)
    known = prediction.known[:, chosen]
    gold, scores = prediction.is_gold[:, chosen][known], prediction.scores[:, chosen][known]
    if not gold.any():
        return []
    precision, recall, _ = metrics.precision_recall_curve(gold, scores)
    # From the highest threshold down: the first point at each recall has the highest precision.
    precision, recall = precision[::-1], recall[::-1]
    places = np.unique(np.searchsorted(recall, np.linspace(0, 1, points + 1)))
    return list(zip(recall[places].tolist(), precision[places].tolist(), strict=True))


def mean_of_defined(values: Sequence[float | None]) -> float | None:
    """The mean of the values that aren't None, or None if all are."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def matthews_correlation(prediction: EvalPrediction) -> float:
    """Matthews correlation coefficient, from -1 to 1; 0.0 is chance level.

    For exclusive labels this is the multi-class coefficient (Gorodkin 2004). In multi-label data
    each known label of a text is one binary decision.
    """
    from sklearn.metrics import matthews_corrcoef

    if prediction.exclusive:
        gold, predicted = prediction.is_gold.argmax(axis=1), prediction.is_predicted.argmax(axis=1)
    else:
        gold = prediction.is_gold[prediction.known]
        predicted = prediction.is_predicted[prediction.known]
    if len(np.union1d(gold, predicted)) < 2:
        return 0.0  # scikit-learn returns 0.0 as well, with a warning
    return float(matthews_corrcoef(gold, predicted))


def confusion_matrix(prediction: EvalPrediction) -> NDArray[np.int_]:
    """Number of texts by gold and predicted label. *Shape:* (gold labels, predicted labels)"""
    n = len(prediction.labels)
    gold, predicted = prediction.is_gold.argmax(axis=1), prediction.is_predicted.argmax(axis=1)
    return np.bincount(gold * n + predicted, minlength=n * n).reshape(n, n)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _per_label(
    prediction: EvalPrediction, metric: Callable[[BoolArray, FloatArray], float]
) -> list[float | None]:
    values: list[float | None] = []
    for column in range(len(prediction.labels)):
        known = prediction.known[:, column]
        gold = prediction.is_gold[known, column]
        both = gold.any() and not gold.all()
        values.append(float(metric(gold, prediction.scores[known, column])) if both else None)
    return values
