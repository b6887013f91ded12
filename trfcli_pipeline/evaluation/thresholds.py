"""From which score on each of several labels should hold."""

from collections.abc import Mapping, Sequence

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    Bools,
    Floats,
    read_gold,
    read_predicted,
)

__all__ = ["tune_thresholds"]

# Hundredths: finer ones would follow the chances of the dev texts.
CANDIDATES = np.arange(1, 100) / 100
# So many texts of a label weigh as much as what all labels have in common. More of them make for a
# better micro F, fewer for a better macro F, where rare labels have lower scores than common ones.
PRIOR_TEXTS = 5.0


def tune_thresholds(
    gold: Sequence[Mapping[str, float | None]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
) -> dict[str, float]:
    """For each label the threshold with the highest F on these texts, which should be dev's.

    The F of a label with few texts peaks wherever these few happen to be. So every label's counts
    get those of all labels together added, scaled to `PRIOR_TEXTS` texts: a common label has its
    own best threshold, a rare one the best for the micro F of all labels, and those in between
    something in between.

    Args:
        gold: For each text its labels with 1.0 or 0.0; those left out are unknown.
        predicted: For each text the scores from 0 to 1.
        labels: All labels, which are not exclusive.

    Returns:
        A threshold in hundredths for each label; 0.5 for all if no text has any label.

    Raises:
        DataError, PipelineError: As in `decide`.
    """
    truth = read_gold(gold, labels, exclusive=False)
    scores = read_predicted(predicted, labels)
    tp, fp = _counts(scores, truth == 1.0), _counts(scores, truth == 0.0)
    support = (truth == 1.0).sum(axis=0)
    if not support.any():
        return dict.fromkeys(labels, DEFAULT_THRESHOLD)
    scale = PRIOR_TEXTS / support.sum()
    tp += scale * tp.sum(axis=1, keepdims=True)
    fp += scale * fp.sum(axis=1, keepdims=True)
    # 2 tp / (2 tp + fp + fn), where tp + fn is the support
    f = 2 * tp / (tp + fp + support + PRIOR_TEXTS)
    return {label: _middle_of_best(f[:, column]) for column, label in enumerate(labels)}


def _counts(scores: Floats, chosen: Bools) -> Floats:
    """How many chosen scores reach each candidate. *Shape:* (candidates, labels)"""
    columns = [
        mask.sum() - np.searchsorted(np.sort(column[mask]), CANDIDATES)
        for column, mask in zip(scores.T, chosen.T, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _middle_of_best(f: Floats) -> float:
    """The one in the middle of the best candidates, which lie side by side as a rule."""
    best = np.flatnonzero(f >= f.max() - 1e-9)
    return float(CANDIDATES[best[(len(best) - 1) // 2]])
