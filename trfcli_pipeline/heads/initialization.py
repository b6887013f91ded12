"""Initial output weights of a classifier."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.heads.architectures import ClassifierModel

# float64 features, logits and weights.
Matrix = NDArray[np.float64]
# Maps logits to the loss, summed over the texts, and its gradient. *Shapes:* (texts, classes)
Loss = Callable[[Any], tuple[float, Any]]

# Rarer labels start at this probability: lower ones would take long to rise.
_MIN_PRIOR = 0.01
_MAX_ITERATIONS = 200
# The default of scipy.
_TOLERANCE = 2.2204460492503131e-09


def prior_bias(cats: Iterable[Mapping[str, float]], labels: Sequence[str]) -> NDArray[np.float64]:
    """Compute the output bias that predicts each label at its frequency.

    If most labels are rare, a classifier that starts at 0.5 for each spends its first hundreds of
    steps on learning just that (Lin et al. 2017, "Focal Loss for Dense Object Detection",
    section 3.3).

    Args:
        cats: The labels of each text with values from 0 to 1; those that are left out are unknown.
        labels: The labels of the classifier. One that no text mentions has a prior of 0.5.

    Returns:
        The log-odds of each label's prior. *Shape:* (labels,)
    """
    positive, known = Counter[str](), Counter[str]()
    for each in cats:
        positive.update(each)
        known.update(each.keys())
    priors = np.array([positive[label] / known[label] if known[label] else 0.5 for label in labels])
    priors = priors.clip(_MIN_PRIOR, 1 - _MIN_PRIOR)
    return np.log(priors / (1 - priors))


def set_output_weights(model: ClassifierModel, **weights: NDArray[np.floating]) -> None:
    """Set parameters of a classifier's output layer, as far as it has them."""
    output = model.get_ref("output_layer")
    for name, values in weights.items():
        # The output layer of another registered architecture may have no bias.
        if output.has_param(name):
            output.set_param(name, model.ops.asarray_f(cast(Any, values)))


def copy_weights(
    model: ClassifierModel,
    source: ClassifierModel,
    labels: Sequence[str],
    source_labels: Sequence[str],
) -> None:
    """Copy the weights of a classifier to one with the same architecture.

    Args:
        model: The classifier to change. Rows of its output layer for labels that `source` doesn't
            have stay as they are.
        source: The classifier to copy.
        labels: The labels of `model`, in the order of its rows.
        source_labels: The labels of `source`.
    """
    shared = [label for label in labels if label in source_labels]
    rows = [labels.index(label) for label in shared]
    source_rows = [source_labels.index(label) for label in shared]
    output = model.get_ref("output_layer")
    for node, other in zip(model.walk(), source.walk(), strict=True):
        for name in other.param_names:
            if not other.has_param(name):
                continue
            values: Any = other.get_param(name).copy()
            if node is output:
                taken, values = values[source_rows], node.get_param(name).copy()
                values[rows] = taken
            node.set_param(name, values)


def linear_probe_weights(
    features: NDArray[np.floating],
    loss: Loss,
    n_classes: int,
    *,
    penalty: float = 1.0,
    start: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    tolerance: float = _TOLERANCE,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit a linear classifier to the features of a frozen encoder (a linear probe).

    Fine-tuning from there changes the encoder less and generalizes better from few texts (Kumar et
    al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution").

    The loss is penalized by `penalty` times half the squared norm of the weights, for features
    scaled to a mean norm of 1, so that the penalty means the same for every encoder. With a
    cross-entropy this is scikit-learn's LogisticRegression with C = 1 / penalty.

    Args:
        features: Products are computed in their precision. *Shape:* (texts, width)
        loss: The loss of logits.
        n_classes: Number of classes.
        penalty: Factor of the penalty.
        start: Weights and bias to start from; None for zeros.
        tolerance: The fit ends once an iteration improves the objective by less than this share.

    Returns:
        Weights and bias. *Shapes:* (classes, width) and (classes,)
    """
    # scipy.optimize is slow to import, and most runs don't need it.
    from scipy.optimize import minimize

    scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    scaled = features / features.dtype.type(scale)
    shape = (n_classes, features.shape[1])

    def objective(flat: Matrix) -> tuple[float, Matrix]:
        weights, bias = flat[:-n_classes].reshape(shape), flat[-n_classes:]
        typed = weights.astype(scaled.dtype, copy=False)
        value, d_logits = loss(scaled @ typed.T + bias.astype(scaled.dtype, copy=False))
        gradient = np.concatenate(
            [(d_logits.T @ scaled + penalty * weights).ravel(), d_logits.sum(axis=0)]
        )
        return value + 0.5 * penalty * float((weights**2).sum()), gradient

    first = np.zeros(shape[0] * shape[1] + n_classes)
    if start is not None:
        first = np.concatenate([start[0].ravel() * scale, start[1]]).astype(np.float64)
    options = {"maxiter": _MAX_ITERATIONS, "ftol": tolerance}
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options=options).x
    weights, bias = found[:-n_classes].reshape(shape) / scale, found[-n_classes:]
    return weights.astype("float32"), bias.astype("float32")
