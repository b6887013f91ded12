"""Class probabilities from logits."""

from collections.abc import Callable

from thinc.api import Model
from thinc.types import Floats2d

Output = tuple[Floats2d, Callable[[Floats2d], Floats2d]]


def class_scores(exclusive: bool) -> Model[Floats2d, Floats2d]:
    """Create a layer that turns logits into probabilities.

    Its backward pass is the identity: like Thinc's Softmax it takes the gradient of the loss with
    respect to the logits, which `losses.py` computes.

    Args:
        exclusive: Use softmax over the classes; otherwise a sigmoid for each class.
    """
    return Model("class_scores", _forward_softmax if exclusive else _forward_sigmoid)


def _forward_softmax(model: Model, X: Floats2d, is_train: bool) -> Output:
    return model.ops.softmax(X), _identity


def _forward_sigmoid(model: Model, X: Floats2d, is_train: bool) -> Output:
    return model.ops.sigmoid(X), _identity


def _identity(d_logits: Floats2d) -> Floats2d:
    return d_logits
