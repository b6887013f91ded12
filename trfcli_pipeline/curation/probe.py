"""A linear probe: a linear classifier on the features of a frozen encoder."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.heads.initialization import linear_probe_weights

# More iterations change the predicted probabilities by less than a hundredth.
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear probe.

    Attributes:
        weights: *Shape:* (labels, width)
        bias: *Shape:* (labels,)
        exclusive: Whether exactly one label applies to each text.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    exclusive: bool

    def predict(self, features: Features) -> FloatArray:
        """Predict the probability of each label. *Shape:* (texts, labels)"""
        logits = (features @ self.weights.T + self.bias).astype(np.float64)
        return cast(FloatArray, softmax(logits, axis=1) if self.exclusive else expit(logits))


def fit_probe(
    features: Features,
    gold: Gold,
    *,
    penalty: float,
    weights: FloatArray | None = None,
    start: Probe | None = None,
) -> Probe:
    """Fit a linear probe to the cross-entropy of the labels.

    Args:
        features: *Shape:* (texts, width)
        gold: The labels of the texts; probabilities may be targets, too.
        penalty: See `heads.initialization.linear_probe_weights`.
        weights: Weight of each text in the loss, by default 1. *Shape:* (texts,)
        start: A probe to start from, to save time.
    """
    shares = np.ones(len(gold)) if weights is None else weights
    known = (~np.isnan(gold.values) * shares[:, np.newaxis]).astype(np.float32)
    targets = np.nan_to_num(gold.values).astype(np.float32) * known
    totals = targets.sum(axis=1, keepdims=True)

    def loss(logits: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        if gold.exclusive:
            shifted = logits - logits.max(axis=1, keepdims=True)
            scores = np.exp(shifted)
            sums = scores.sum(axis=1, keepdims=True)
            value = (totals * np.log(sums)).sum() - (targets * shifted).sum()
            return float(value), scores * (totals / sums) - targets
        # numpy's exponential is many times as fast as scipy's sigmoid.
        small = np.exp(-np.abs(logits))
        softplus = np.maximum(logits, 0) + np.log1p(small)
        scores = np.where(logits > 0, 1, small) / (1 + small)
        return float((known * softplus - targets * logits).sum()), known * scores - targets

    fitted = linear_probe_weights(
        features,
        loss,
        len(gold.labels),
        penalty=penalty,
        start=None if start is None else (start.weights, start.bias),
        tolerance=_TOLERANCE,
    )
    return Probe(*fitted, gold.exclusive)


def log_loss(scores: FloatArray, gold: Gold) -> float:
    """The mean cross-entropy of predicted probabilities, over the texts or labels that are known.

    Args:
        scores: *Shape:* (texts, labels)
    """
    smallest = np.finfo(np.float64).eps
    given: Any = np.nan_to_num(gold.values)
    costs = -given * np.log(np.maximum(scores, smallest))
    if gold.exclusive:
        return float(costs.sum() / max(given.sum(), 1))
    costs -= (1 - given) * np.log(np.maximum(1 - scores, smallest))
    return float(costs[~np.isnan(gold.values)].mean())
