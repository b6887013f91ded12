"""An evaluation in one sentence: how many texts are right, and which label is the weakest."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.evaluation import metrics
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction, FloatArray

# A label is only called weak below this probability that its errors are due to chance.
_SIGNIFICANCE = 0.05
# With fewer texts of a label, one odd text may be all that is wrong with it.
_FEW_OF_A_LABEL = 5
# With fewer texts, scores say little.
_FEW_TEXTS = 20


@dataclass(frozen=True)
class WeakLabel:
    """A label that is predicted worse than the others.

    Attributes:
        measure: What is significantly lower than for the other labels.
        errors: Number of texts with the label for which it wasn't predicted ("recall"), or of texts
            for which it was predicted wrongly ("precision").
        texts: Number of texts with the label ("recall"), or for which it was predicted
            ("precision").
        other: If labels are exclusive, the label that more than half of the errors were taken for
            ("recall") or have ("precision"). None if there is no such label.
    """

    label: str
    measure: Literal["recall", "precision"]
    errors: int
    texts: int
    other: str | None = None


def find_weakest(prediction: EvalPrediction) -> WeakLabel | None:
    """Find the weakest label, unless the differences between labels may be due to chance.

    Recall and precision of each label are compared with those of all other labels by Fisher's exact
    test, one-sided and with Bonferroni's correction for testing both measures of each label. Among
    the labels that are significantly worse, the weakest is the one with the lowest F.
    """
    counts = metrics.count(prediction)
    _, _, f = metrics.precision_recall_f(counts)
    totals: dict[Literal["recall", "precision"], FloatArray] = {
        "recall": counts.support,
        "precision": counts.tp + counts.fp,
    }
    p_values = np.array([_worse_than_others(counts.tp, each) for each in totals.values()])
    is_candidate = counts.support >= _FEW_OF_A_LABEL
    is_weak = is_candidate & (p_values.min(axis=0) * 2 * is_candidate.sum() < _SIGNIFICANCE)
    if not is_weak.any():
        return None
    column = int(np.where(is_weak, f, np.inf).argmin())
    measure = list(totals)[p_values[:, column].argmin()]
    texts = int(totals[measure][column])
    errors = texts - int(counts.tp[column])
    other = _frequent_other(prediction, column, measure, errors) if prediction.exclusive else None
    return WeakLabel(prediction.labels[column], measure, errors, texts, other)


def summarize(prediction: EvalPrediction, *, is_all: bool) -> str:
    """Say in one sentence how many texts are right, and which label is the weakest.

    Args:
        is_all: Whether all texts could be scored.
    """
    n_texts, n_correct = len(prediction), int(prediction.correct.sum())
    noun = "text" if is_all else "labeled text"
    has_several = not prediction.exclusive and len(prediction.labels) > 1
    right = "right in all labels" if has_several else "right"
    texts = plural(n_texts, noun)
    if n_correct == n_texts > 2:
        first = f"All {texts} {right}"
    else:
        first = f"{n_correct:,} of {texts} {right}"
    if n_texts < _FEW_TEXTS:
        return f"{first}, but {plural(n_texts, noun, ('is', 'are'))} too few to rely on."
    rest = "" if n_correct == n_texts else _describe_labels(prediction)
    return f"{first}; {rest}." if rest else f"{first}."


def _describe_labels(prediction: EvalPrediction) -> str:
    """Which label is the weakest and why, as a clause; empty if labels can't be compared."""
    counts = metrics.count(prediction)
    if len(prediction.labels) == 1:
        support, predicted = int(counts.support[0]), int(counts.tp[0] + counts.fp[0])
        return (
            f"{prediction.labels[0]} is missed in {int(counts.fn[0]):,} of its "
            f"{plural(support, 'text')} and wrong in {int(counts.fp[0]):,} of "
            f"{plural(predicted, 'prediction')}"
        )
    weakest = find_weakest(prediction)
    if weakest is not None:
        return f"{weakest.label} is the weakest label, {_describe_errors(weakest)}"
    if (counts.support >= _FEW_OF_A_LABEL).sum() < 2:
        return ""
    if len(prediction.labels) == 2:
        return "neither label is clearly weaker than the other"
    return "no label is clearly weaker than the others"


def _describe_errors(weakest: WeakLabel) -> str:
    if weakest.measure == "precision":
        share = f"wrong in {weakest.errors:,} of {plural(weakest.texts, 'prediction')}"
        return share if weakest.other is None else f"{share}, mostly on {weakest.other}"
    if weakest.other is None:
        return f"missed in {weakest.errors:,} of its {plural(weakest.texts, 'text')}"
    return f"mostly taken for {weakest.other}"


def _worse_than_others(right: FloatArray, texts: FloatArray) -> FloatArray:
    """p-value of Fisher's exact test of each label against all others, one-sided.

    The probability of at most as many right ones among the texts of the label, if the right ones of
    all labels were spread over their texts at random. *Shape of each array:* (labels,)
    """
    from scipy.stats import hypergeom

    p_values: FloatArray = hypergeom.cdf(right, texts.sum(), right.sum(), texts)
    return p_values


def _frequent_other(
    prediction: EvalPrediction, column: int, measure: str, errors: int
) -> str | None:
    matrix = metrics.confusion_matrix(prediction)
    others = matrix[column].copy() if measure == "recall" else matrix[:, column].copy()
    others[column] = 0
    most = int(others.argmax())
    return prediction.labels[most] if others[most] > errors / 2 else None
