"""The log-odds of a label, and its gradient."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.types import Floats2d

FloatArray = NDArray[np.float64]


def log_odds(logits: Floats2d, label: int, *, exclusive: bool) -> tuple[FloatArray, FloatArray]:
    """Compute log(p / (1 - p)) of a label's probability p.

    For a sigmoid, this is the label's logit. For a softmax, it is the label's logit minus the
    logarithm of the sum of the exponentials of the others. Other than p, it doesn't saturate.

    Args:
        logits: A NumPy array. *Shape:* (texts, labels)
        label: Index of the label.
        exclusive: Whether probabilities are a softmax over the labels.

    Returns:
        The log-odds, *Shape:* (texts,), and their gradients with respect to the logits,
        *Shape:* (texts, labels)
    """
    exact: Any = np.asarray(logits, dtype=np.float64)
    gradient = np.zeros_like(exact)
    gradient[:, label] = 1.0
    if not exclusive:
        return exact[:, label], gradient
    others = np.delete(exact, label, axis=1)
    highest = others.max(axis=1, keepdims=True)
    weights = np.exp(others - highest)
    totals = weights.sum(axis=1, keepdims=True)
    gradient[:, np.arange(exact.shape[1]) != label] = -weights / totals
    return exact[:, label] - (highest + np.log(totals))[:, 0], gradient
