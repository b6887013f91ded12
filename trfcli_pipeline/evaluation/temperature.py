"""Temperature scaling: one number that makes predicted probabilities calibrated."""

import numpy as np

from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction, FloatArray

# Scores of exactly 0 or 1 have no finite logit.
_SMALLEST = 1e-12
# Search range of the logarithm of the temperature: 0.05 to 20.
_RANGE = (-3.0, 3.0)
_ROUNDING = 6


def logits_of(scores: FloatArray, *, exclusive: bool) -> FloatArray:
    """Return logits that have these scores: they needn't be kept on the Doc.

    A softmax doesn't change if a number is added to all logits of a text, so the logarithms of the
    probabilities do as well as the logits that the classifier computed.

    Args:
        scores: *Shape:* (texts, labels)
        exclusive: Whether the scores are a softmax over the labels; otherwise a sigmoid of each.

    Returns:
        *Shape:* (texts, labels)
    """
    clipped = np.clip(scores, _SMALLEST, 1.0 - (0.0 if exclusive else _SMALLEST))
    logits: FloatArray = np.log(clipped)
    return logits if exclusive else logits - np.log1p(-clipped)


def calibrate(scores: FloatArray, temperature: float, *, exclusive: bool) -> FloatArray:
    """Divide the logits by a temperature.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599,
    equation 9.

    Args:
        scores: Predicted scores from 0 to 1. *Shape:* (texts, labels)
        temperature: Above 1, all probabilities become less extreme; the order of the labels stays.
        exclusive: Whether exactly one label applies to each text.

    Returns:
        Calibrated probabilities. *Shape:* (texts, labels)
    """
    logits = logits_of(scores, exclusive=exclusive) / temperature
    probabilities: FloatArray
    if exclusive:
        # The highest becomes 0, so that nothing overflows.
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        return probabilities / probabilities.sum(axis=1, keepdims=True)
    probabilities = np.exp(-np.logaddexp(0.0, -logits))
    return probabilities


def fit_temperature(prediction: EvalPrediction) -> float:
    """Find the temperature with the lowest log loss on texts that the classifier wasn't trained on.

    Args:
        prediction: Gold labels and predicted scores. Labels that aren't known don't count.
    """
    # scipy.optimize is slow to import, and predicting doesn't need it.
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = logits_of(prediction.scores, exclusive=prediction.exclusive)
    signs = np.where(prediction.is_gold, 1.0, -1.0)[prediction.known]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if prediction.exclusive:
            return -float(log_softmax(scaled, axis=1)[prediction.is_gold].mean())
        return float(np.logaddexp(0.0, -signs * scaled[prediction.known]).mean())

    found = minimize_scalar(loss, bounds=_RANGE, method="bounded").x
    return round(float(np.exp(found)), _ROUNDING)
