"""Fits a linear classifier to features that stay as they are (a linear probe)."""

from collections.abc import Callable

import numpy as np

from trfcli_pipeline.encoder.activations import Floats

# Of logits: the loss, and its gradient.
Loss = Callable[[Floats], tuple[float, Floats]]

_MOST_ITERATIONS = 200


def fit_probe(features: Floats, loss: Loss, n_classes: int) -> tuple[Floats, Floats]:
    """The weights and the bias with the least loss, penalized by half the weights' squared norm.

    The penalty is taken for features scaled to a mean norm of 1, so that it means the same for
    every encoder. With a cross-entropy that is summed over the texts, this is scikit-learn's
    LogisticRegression with C = 1.

    Args:
        features: *Shape:* (texts, width)
        loss: Of logits, summed over the texts. *Shapes:* (texts, classes), float64

    Returns:
        *Shapes:* (classes, width) and (classes,)
    """
    # Its import takes longer than most programs need it.
    from scipy.optimize import minimize

    features = np.asarray(features, dtype="float64")
    scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    scaled = features / scale
    shape = (n_classes, features.shape[1])

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-n_classes].reshape(shape), flat[-n_classes:]
        value, d_logits = loss(scaled @ weights.T + bias)
        gradient = np.concatenate([(d_logits.T @ scaled + weights).ravel(), d_logits.sum(axis=0)])
        return value + 0.5 * float((weights**2).sum()), gradient

    start = np.zeros(shape[0] * shape[1] + n_classes)
    options = {"maxiter": _MOST_ITERATIONS}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    weights, bias = found[:-n_classes].reshape(shape) / scale, found[-n_classes:]
    return weights.astype("float32"), bias.astype("float32")
