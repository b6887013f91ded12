"""Registered, versioned model architectures of the heads."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Dropout, Linear, Model, chain, zero_init
from thinc.types import Floats2d

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.layers import (
    class_scores,
    mean_class_vector,
    mean_last_hidden,
    mean_pooler_output,
)

ClassifierModel = Model[list[Doc], Floats2d]

# The short names that the `architecture` setting of trf_textcat takes.
CLASSIFIERS = {
    "softmax_last_hidden": "trfcli.SoftmaxLastHidden.v1",
    "softmax_class_vector": "trfcli.SoftmaxClassVector.v1",
    "softmax_pooler_output": "trfcli.SoftmaxPoolerOutput.v1",
}


@registry.architectures("trfcli.SoftmaxLastHidden.v1")
def softmax_last_hidden(
    exclusive_classes: bool, nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the mean of the wordpieces' last hidden states. Every encoder serves it."""
    return _classifier(mean_last_hidden(), exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxClassVector.v1")
def softmax_class_vector(
    exclusive_classes: bool, nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the last hidden state of the class token (`[CLS]`, `<s>`)."""
    return _classifier(mean_class_vector(), exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxPoolerOutput.v1")
def softmax_pooler_output(
    exclusive_classes: bool, nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the output of the encoder's trained pooler."""
    return _classifier(mean_pooler_output(), exclusive_classes, nO, nI)


def make_classifier(
    architecture: str, exclusive_classes: bool, nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Build a classifier by its short or registered name.

    Args:
        exclusive_classes: Whether exactly one class holds for a text.
        nO: Number of classes.
        nI: Width of the encoder.

    Raises:
        PipelineError: There is no such architecture.
    """
    name = CLASSIFIERS.get(architecture, architecture)
    if name not in registry.architectures:
        raise PipelineError(
            f"{architecture}: no such architecture", hint=f"Use one of: {', '.join(CLASSIFIERS)}"
        )
    make: Callable[..., Any] = registry.architectures.get(name)
    return make(exclusive_classes=exclusive_classes, nO=nO, nI=nI)


def _classifier(
    features: Model[list[Doc], Floats2d], exclusive: bool, nO: int | None, nI: int | None
) -> ClassifierModel:
    # All zeros: every class is equally likely at first, and two runs start alike.
    output = Linear(nO, nI, init_W=zero_init)
    with Model.define_operators({">>": chain}):
        model: ClassifierModel = features >> Dropout() >> output >> class_scores(exclusive)
    model.set_ref("features", features)
    model.set_ref("output_layer", output)
    return model
