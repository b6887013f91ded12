"""Tune the decision thresholds of multi-label classifiers."""

from collections.abc import Mapping, Sequence

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    BoolArray,
    FloatArray,
    read_gold,
    read_scores,
)
from trfcli_pipeline.evaluation.metrics import Counts, precision_recall_f

# Finer steps than hundredths would overfit the dev set.
CANDIDATES = np.arange(1, 100) / 100
# Weight of the counts pooled over all labels, in texts of a label. Higher values favor micro F,
# lower values favor macro F, because rare labels tend to have lower scores.
PRIOR_TEXTS = 5.0


def tune_thresholds(
    gold: Sequence[Mapping[str, float | None]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
) -> dict[str, float]:
    """Find the decision threshold with the highest F for each label.

    The best threshold of a rare label depends on a handful of texts. So the counts pooled over all
    labels, scaled to `PRIOR_TEXTS` texts, are added to the counts of each label. A common label
    gets its own best threshold, a rare label the one with the best micro F, and other labels
    something in between.

    Args:
        gold: For each text of the dev set its labels; see `EvalPrediction.from_cats`.
        predicted: For each text the predicted scores from 0 to 1.
        labels: All labels of a multi-label classifier.

    Returns:
        A threshold in hundredths for each label; 0.5 for all if no text has any label.

    Raises:
        DataError, PipelineError: See `EvalPrediction.from_cats`.
    """
    truth = read_gold(gold, labels, exclusive=False)
    scores = read_scores(predicted, labels)
    tp, fp = _counts(scores, truth == 1.0), _counts(scores, truth == 0.0)
    support = (truth == 1.0).sum(axis=0).astype(np.float64)
    if not support.any():
        return dict.fromkeys(labels, DEFAULT_THRESHOLD)
    counts = Counts(tp=tp, fp=fp, fn=support - tp)
    prior, scale = counts.pooled(), PRIOR_TEXTS / support.sum()
    _, _, f = precision_recall_f(
        Counts(
            tp=counts.tp + scale * prior.tp,
            fp=counts.fp + scale * prior.fp,
            fn=counts.fn + scale * prior.fn,
        )
    )
    return {label: _middle_of_best(f[:, column]) for column, label in enumerate(labels)}


def _counts(scores: FloatArray, mask: BoolArray) -> FloatArray:
    """How many of the masked scores reach each candidate. *Shape:* (candidates, labels)"""
    columns = [
        chosen.sum() - np.searchsorted(np.sort(column[chosen]), CANDIDATES)
        for column, chosen in zip(scores.T, mask.T, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _middle_of_best(f: FloatArray) -> float:
    """The middle one of the best candidates, which are usually adjacent."""
    best = np.flatnonzero(f >= f.max() - 1e-9)
    return float(CANDIDATES[best[(len(best) - 1) // 2]])
