"""Registered, versioned model architectures of the heads."""

import inspect
from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import (
    Dropout,
    Linear,
    Model,
    ParametricAttention,
    Ragged,
    chain,
    reduce_max,
    reduce_mean,
    reduce_sum,
    zero_init,
)
from thinc.types import Floats2d

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.layers import (
    class_scores,
    class_vectors,
    mean_last_hidden,
    pooler_outputs,
    segment_means,
    token_vectors,
)

ClassifierModel = Model[list[Doc], Floats2d]
DocFeatures = Model[list[Doc], Floats2d]
SegmentVectors = Model[list[Doc], Ragged]

# The short names that the `architecture` setting of trf_textcat takes.
CLASSIFIERS = {
    "softmax_last_hidden": "trfcli.SoftmaxLastHidden.v1",
    "softmax_class_vector": "trfcli.SoftmaxClassVector.v1",
    "softmax_pooler_output": "trfcli.SoftmaxPoolerOutput.v1",
}
# How the vectors of a text's segments become one; see `make_classifier`.
POOLINGS = ("mean", "max", "attention")


@registry.architectures("trfcli.TokenVectors.v1")
def make_token_vectors() -> Model[list[Doc], list[Floats2d]]:
    """The `tok2vec` of spaCy's own components: reads `doc.tensor`, trains the encoder with them."""
    return token_vectors()


@registry.architectures("trfcli.SoftmaxLastHidden.v1")
def softmax_last_hidden(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the mean of the wordpieces' last hidden states. Every encoder serves it."""
    # The mean over all wordpieces of a text, not over its segments: short ones count for less.
    features = mean_last_hidden() if pooling == "mean" else _pool(segment_means(), pooling)
    return _classifier(features, exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxClassVector.v1")
def softmax_class_vector(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the last hidden state of the class token (`[CLS]`, `<s>`)."""
    return _classifier(_pool(class_vectors(), pooling), exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxPoolerOutput.v1")
def softmax_pooler_output(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Classify by the output of the encoder's trained pooler."""
    return _classifier(_pool(pooler_outputs(), pooling), exclusive_classes, nO, nI)


def make_classifier(
    architecture: str,
    exclusive_classes: bool,
    pooling: str = "mean",
    nO: int | None = None,
    nI: int | None = None,
) -> ClassifierModel:
    """Build a classifier by its short or registered name.

    Args:
        exclusive_classes: Whether exactly one class holds for a text.
        pooling: How the vectors of a text's segments (sentences) become one: their "mean", the
            "max" of each column, or a mean by "attention", with weights that are learnt.
        nO: Number of classes.
        nI: Width of the encoder.

    Raises:
        PipelineError: There is no such architecture or pooling, or it isn't one of a classifier
            on the encoder's output.
    """
    name = CLASSIFIERS.get(architecture, architecture)
    hint = f"Use one of: {', '.join(CLASSIFIERS)}"
    if name not in registry.architectures:
        raise PipelineError(f"{architecture}: no such architecture", hint=hint)
    make: Callable[..., Any] = registry.architectures.get(name)
    options = {"exclusive_classes": exclusive_classes, "pooling": pooling, "nO": nO, "nI": nI}
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise PipelineError(
            f"{architecture}: not an architecture of trf_textcat ({error})", hint=hint
        ) from error
    model = make(**options)
    lacking = [ref for ref in ("features", "output_layer") if not model.has_ref(ref)]
    if lacking:
        raise PipelineError(
            f"{architecture}: its model has no reference to {' and '.join(lacking)}", hint=hint
        )
    return model


def _pool(vectors: SegmentVectors, pooling: str) -> DocFeatures:
    match pooling:
        case "mean":
            return chain(vectors, reduce_mean())
        case "max":
            return chain(vectors, reduce_max())
        case "attention":
            attention = ParametricAttention()
            pooled: DocFeatures = chain(vectors, attention, reduce_sum())
            pooled.set_ref("attention", attention)
            return pooled
    raise PipelineError(f"{pooling}: no such pooling", hint=f"Use one of: {', '.join(POOLINGS)}")


def _classifier(
    features: DocFeatures, exclusive: bool, nO: int | None, nI: int | None
) -> ClassifierModel:
    # All zeros: every class is equally likely at first, and two runs start alike.
    output = Linear(nO, nI, init_W=zero_init)
    with Model.define_operators({">>": chain}):
        model: ClassifierModel = features >> Dropout() >> output >> class_scores(exclusive)
    model.set_ref("features", features)
    model.set_ref("output_layer", output)
    if nI is not None:
        set_width(model, nI)
    return model


def set_width(model: ClassifierModel, width: int) -> None:
    """Tell a classifier how wide the encoder is."""
    model.get_ref("output_layer").set_dim("nI", width)
    features = model.get_ref("features")
    if features.has_ref("attention"):
        features.get_ref("attention").set_dim("nO", width)
