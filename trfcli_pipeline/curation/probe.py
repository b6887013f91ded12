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
from trfcli_pipeline.heads.losses import exclusive_loss, multilabel_loss


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
        return probabilities(features @ self.weights.T + self.bias, exclusive=self.exclusive)


def fit_probe(
    features: Features, gold: Gold, *, penalty: float = 1.0, weights: FloatArray | None = None
) -> Probe:
    """Fit a linear probe.

    Args:
        features: *Shape:* (texts, width)
        gold: The labels of the texts; probabilities may be targets, too.
        penalty: See `heads.initialization.linear_probe_weights`.
        weights: Weight of each text in the loss, by default 1. *Shape:* (texts,)
    """
    shares = np.ones(len(gold)) if weights is None else weights
    known = ~np.isnan(gold.values) * shares[:, np.newaxis]
    truths: Any = np.nan_to_num(gold.values)
    ones: Any = np.ones(len(gold.labels))

    def loss(logits: FloatArray) -> tuple[float, FloatArray]:
        scores: Any = probabilities(logits, exclusive=gold.exclusive)
        if gold.exclusive:
            targets = truths * shares[:, np.newaxis]
            mean, d_logits = exclusive_loss(scores, targets, weights=ones)
            count = targets.any(axis=1).sum()
        else:
            mean, d_logits = multilabel_loss(scores, truths, cast(Any, known), weights=ones)
            count = known.sum()
        # linear_probe_weights takes the sum over the texts.
        return count * mean, count * cast(Any, d_logits)

    fitted = linear_probe_weights(cast(Any, features), loss, len(gold.labels), penalty=penalty)
    return Probe(*fitted, gold.exclusive)


def probabilities(logits: Any, *, exclusive: bool) -> FloatArray:
    """The probability of each label: a softmax if labels are exclusive, else sigmoids."""
    logits = logits.astype(np.float64)
    return cast(FloatArray, softmax(logits, axis=1) if exclusive else expit(logits))
