"""Cross-entropies of a classifier's scores, and their gradients.

Both take class weights and the focal term of Lin et al. (2017), "Focal Loss for Dense Object
Detection": a score p of what holds costs -(1 - p)^gamma log(p), so that what is already right
counts for less. With gamma = 0 and weights of 1 they are plain cross-entropies.
"""

from typing import Any

from trfcli_pipeline.encoder.activations import Floats

# numpy, or CuPy.
Arrays = Any

# Keeps the logarithm of a score finite.
_SMALLEST_SCORE = 1e-7


def exclusive_loss(
    xp: Arrays, scores: Floats, truths: Floats, *, weights: Floats, gamma: float = 0.0
) -> tuple[float, Floats]:
    """The categorical cross-entropy, averaged over the texts that have a label.

    Args:
        scores: Of softmax. *Shape:* (texts, labels)
        truths: 1 for the label that holds; may be divided among labels. *Shape:* (texts, labels)
        weights: Of each label. *Shape:* (labels,)
        gamma: Of the focal term.

    Returns:
        The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
    """
    n_labelled = max(int(truths.any(axis=1).sum()), 1)
    targets = truths * weights / n_labelled
    costs, slopes = _focal(xp, scores, gamma)
    d_scores = targets * slopes
    d_logits = d_scores - scores * d_scores.sum(axis=1, keepdims=True)
    return float((targets * costs).sum()), d_logits.astype("float32")


def multilabel_loss(
    xp: Arrays,
    scores: Floats,
    truths: Floats,
    known: Floats,
    *,
    weights: Floats,
    gamma: float = 0.0,
) -> tuple[float, Floats]:
    """The binary cross-entropy, averaged over the labels that are known.

    Args:
        scores: Of sigmoids. *Shape:* (texts, labels)
        truths: From 0 to 1. *Shape:* (texts, labels)
        known: 1 where it is known whether the label holds, else 0. *Shape:* (texts, labels)
        weights: Of each label where it holds. *Shape:* (labels,)
        gamma: Of the focal term.

    Returns:
        The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
    """
    n_known = max(float(known.sum()), 1.0)
    holding = known * truths * weights / n_known
    lacking = known * (1 - truths) / n_known
    costs, slopes = _focal(xp, scores, gamma)
    inverse_costs, inverse_slopes = _focal(xp, 1 - scores, gamma)
    loss = float((holding * costs + lacking * inverse_costs).sum())
    d_logits = holding * slopes * (1 - scores) - lacking * inverse_slopes * scores
    return loss, d_logits.astype("float32")


def _focal(xp: Arrays, scores: Floats, gamma: float) -> tuple[Floats, Floats]:
    """What a score costs if it is of what holds, and p times the derivative of that by p."""
    logs = xp.log(xp.maximum(scores, _SMALLEST_SCORE))
    if not gamma:
        return -logs, -xp.ones_like(scores)
    rest = xp.maximum(1 - scores, _SMALLEST_SCORE)
    focus = rest**gamma
    return -focus * logs, gamma * scores * focus / rest * logs - focus
