"""Conformal prediction: sets of labels that contain the labels of a text with a chosen probability.

The set of a text has all labels whose calibrated probability reaches a threshold, and the most
probable label in any case. With exclusive labels, that is split conformal prediction with the score
1 - p (Angelopoulos and Bates 2023, "Conformal Prediction: A Gentle Introduction",
https://arxiv.org/abs/2107.07511, section 1), also called LAC. Of all sets with the same coverage it
gives the smallest ones on average (Sadinle et al. 2019, "Least Ambiguous Set-Valued Classifiers
with Bounded Error Levels", theorem 1). Adaptive sets (APS) have nearer the same coverage for easy
and difficult texts, but many more labels, where there are dozens of labels.

With several labels per text, the threshold bounds the share of a text's labels that its set misses,
by conformal risk control (Angelopoulos et al. 2022, https://arxiv.org/abs/2208.02814, eq. 4), which
is the same as split conformal prediction if each text has one label.
"""

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray

# Share of a text's labels that its set has, on average.
COVERAGE = 0.95
_ROUNDING = 1e-9


def label_sets(probabilities: FloatArray, threshold: float, *, exclusive: bool) -> BoolArray:
    """Decide which labels are in the set of each text.

    Args:
        probabilities: Calibrated probabilities. *Shape:* (texts, labels)
        threshold: What `fit_threshold` returned.
        exclusive: Whether exactly one label applies to each text; its set is never empty then.

    Returns:
        *Shape:* (texts, labels)
    """
    sets: BoolArray = probabilities >= threshold
    if exclusive:
        sets |= np.arange(sets.shape[1]) == probabilities.argmax(axis=1)[:, np.newaxis]
    return sets


def missed_shares(sets: BoolArray, gold: BoolArray) -> FloatArray:
    """The share of each text's labels that its set misses; 0 for a text without labels.

    Args:
        sets: *Shape:* (texts, labels)
        gold: Which labels apply. *Shape:* (texts, labels)

    Returns:
        *Shape:* (texts,)
    """
    missed: FloatArray = (gold & ~sets).sum(axis=1) / np.maximum(gold.sum(axis=1), 1)
    return missed


def fit_threshold(
    probabilities: FloatArray, gold: BoolArray, *, exclusive: bool, coverage: float = COVERAGE
) -> float:
    """Find the highest threshold whose sets cover enough of the labels, also of new texts.

    Args:
        probabilities: Calibrated probabilities of texts that the classifier wasn't trained on.
            *Shape:* (texts, labels)
        gold: Which labels apply to them. *Shape:* (texts, labels)
        exclusive: See `label_sets`.
        coverage: Share of a text's labels that are to be in its set, on average over all texts.

    Returns:
        The threshold; 0.0 if only sets with all labels cover enough.
    """
    # One text more, of which all is missed, makes up for the finite number of texts.
    room = (1.0 - coverage) * (len(probabilities) + 1) - 1.0 + _ROUNDING
    if room < 0:
        return 0.0
    values = probabilities.copy()
    if exclusive:
        # The most probable label is in the set at any threshold.
        values[np.arange(len(values)), values.argmax(axis=1)] = 1.0
    shares = gold / np.maximum(gold.sum(axis=1, keepdims=True), 1)
    order = np.argsort(values[gold], kind="stable")
    # What is missed if the threshold is above the probability of each label that applies.
    missed = np.cumsum(shares[gold][order])
    first = int(np.searchsorted(missed, room, side="right"))
    return float(values[gold][order][first]) if first < len(order) else 1.0
