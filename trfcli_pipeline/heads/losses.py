"""Cross-entropy losses of a classifier's scores, with class weights and a focal term.

The focal term of Lin et al. (2017), "Focal Loss for Dense Object Detection", down-weights texts
that the model already gets right: a score p of a label that applies costs
-(1 - p)^gamma log(p). With gamma = 0 and weights of 1 these are the plain cross-entropies.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from thinc.api import get_array_module
from thinc.types import Floats1d, Floats2d

# Keeps the logarithm of a score finite.
_SMALLEST_SCORE = 1e-7


def truth_arrays(
    cats: Sequence[Mapping[str, float]], labels: Sequence[str]
) -> tuple[Floats2d, Floats2d]:
    """Arrange the gold values of some texts in two arrays.

    Args:
        cats: The known labels of each text, 1 if they apply and 0 if not.
        labels: The labels of the classifier, in the order of its scores.

    Returns:
        The gold value of each label, 0 if it is unknown; and 1 where it is known, else 0.
        *Shape of both:* (texts, labels)
    """
    unknown = math.nan
    rows = [[each.get(label, unknown) for label in labels] for each in cats]
    truths: Any = np.array(rows, dtype="float32").reshape(len(cats), len(labels))
    known: Any = ~np.isnan(truths)
    truths[~known] = 0.0
    return truths, known.astype("float32")


def exclusive_loss(
    scores: Floats2d, truths: Floats2d, *, weights: Floats1d, gamma: float = 0.0
) -> tuple[float, Floats2d]:
    """Compute the categorical cross-entropy, averaged over the texts that have a label.

    Args:
        scores: Output of a softmax. *Shape:* (texts, labels)
        truths: 1 for the gold label, else 0; may be spread over labels. *Shape:* (texts, labels)
        weights: Weight of each label. *Shape:* (labels,)
        gamma: Exponent of the focal term.

    Returns:
        The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
    """
    n_labeled = max(int(truths.any(axis=1).sum()), 1)
    targets = truths * weights / n_labeled
    costs, slopes = _focal(scores, gamma)
    d_scores = targets * slopes
    d_logits = d_scores - scores * d_scores.sum(axis=1, keepdims=True)
    return float((targets * costs).sum()), d_logits.astype("float32")


def multilabel_loss(
    scores: Floats2d,
    truths: Floats2d,
    known: Floats2d,
    *,
    weights: Floats1d,
    gamma: float = 0.0,
) -> tuple[float, Floats2d]:
    """Compute the binary cross-entropy, averaged over the labels that are known.

    Args:
        scores: Output of sigmoids. *Shape:* (texts, labels)
        truths: From 0 to 1. *Shape:* (texts, labels)
        known: 1 if it is known whether the label applies, else 0. *Shape:* (texts, labels)
        weights: Weight of each label where it applies; where it doesn't, the weight is 1.
            *Shape:* (labels,)
        gamma: Exponent of the focal term.

    Returns:
        The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
    """
    n_known = max(float(cast(Any, known).sum()), 1.0)
    positive = known * truths * weights / n_known
    negative = known * (1 - truths) / n_known
    costs, slopes = _focal(scores, gamma)
    inverse_costs, inverse_slopes = _focal(1 - scores, gamma)
    terms = cast(Any, positive * costs + negative * inverse_costs)
    d_logits = positive * slopes * (1 - scores) - negative * inverse_slopes * scores
    return float(terms.sum()), d_logits.astype("float32")


def _focal(scores: Floats2d, gamma: float) -> tuple[Floats2d, Floats2d]:
    """Return the cost of each score p of a label that applies, and p times the derivative by p."""
    xp = get_array_module(scores)
    logs = xp.log(xp.maximum(scores, _SMALLEST_SCORE))
    if not gamma:
        return -logs, -xp.ones_like(scores)
    rest = xp.maximum(1 - scores, _SMALLEST_SCORE)
    focus = rest**gamma
    return -focus * logs, gamma * scores * focus / rest * logs - focus
