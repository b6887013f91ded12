"""Registered model architectures of the heads."""

import inspect
from collections.abc import Callable, Collection
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

from trfcli_pipeline.encoder.activations import KINDS, SEGMENT_SUMS, TENSOR
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.class_scores import class_scores
from trfcli_pipeline.heads.doc_features import (
    class_vectors,
    mean_last_hidden,
    pooler_outputs,
    segment_means,
)

ClassifierModel = Model[list[Doc], Floats2d]
DocFeatures = Model[list[Doc], Floats2d]

# The short names that the `architecture` setting of trf_textcat accepts.
CLASSIFIERS = {
    "softmax_last_hidden": "trfcli.SoftmaxLastHidden.v1",
    "softmax_class_vector": "trfcli.SoftmaxClassVector.v1",
    "softmax_pooler_output": "trfcli.SoftmaxPoolerOutput.v1",
}
POOLINGS = ("mean", "max", "attention")


@registry.architectures("trfcli.SoftmaxLastHidden.v1")
def softmax_last_hidden(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Create a classifier on the mean of the last hidden states. Works with every encoder.

    See `make_classifier` for the arguments. With `pooling="mean"` this is the mean over all
    wordpieces of a text, so that long segments weigh more than short ones.
    """
    features = mean_last_hidden() if pooling == "mean" else _pool(segment_means(), pooling)
    return _classifier(features, exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxClassVector.v1")
def softmax_class_vector(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Create a classifier on the last hidden state of the class token (`[CLS]`, `<s>`).

    See `make_classifier` for the arguments.
    """
    return _classifier(_pool(class_vectors(), pooling), exclusive_classes, nO, nI)


@registry.architectures("trfcli.SoftmaxPoolerOutput.v1")
def softmax_pooler_output(
    exclusive_classes: bool, pooling: str = "mean", nO: int | None = None, nI: int | None = None
) -> ClassifierModel:
    """Create a classifier on the output of the encoder's trained pooler.

    See `make_classifier` for the arguments.
    """
    return _classifier(_pool(pooler_outputs(), pooling), exclusive_classes, nO, nI)


def make_classifier(
    architecture: str,
    exclusive_classes: bool,
    pooling: str = "mean",
    nO: int | None = None,
    nI: int | None = None,
) -> ClassifierModel:
    """Create a classifier by its short or registered name.

    Args:
        architecture: One of `CLASSIFIERS`, or the name of a registered architecture.
        exclusive_classes: Whether exactly one class applies to each text.
        pooling: How to combine the vectors of a text's segments: their "mean", the "max" of each
            column, or an average with learned "attention" weights.
        nO: Number of classes; None if not known yet.
        nI: Width of the encoder; None if not known yet.

    Raises:
        PipelineError: The architecture or the pooling doesn't exist, or the architecture isn't a
            classifier on the encoder's output.
    """
    name = CLASSIFIERS.get(architecture, architecture)
    hint = f"Use one of: {', '.join(CLASSIFIERS)}"
    if not registry.has("architectures", name):
        raise PipelineError(f"{architecture}: no such architecture", hint=hint)
    make: Callable[..., Any] = registry.get("architectures", name)
    options = {"exclusive_classes": exclusive_classes, "pooling": pooling, "nO": nO, "nI": nI}
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise PipelineError(
            f"{architecture}: not an architecture for trf_textcat ({error})", hint=hint
        ) from error
    model = make(**options)
    missing = [ref for ref in ("features", "output_layer") if not model.has_ref(ref)]
    if missing:
        raise PipelineError(
            f"{architecture}: its model has no reference to {' and '.join(missing)}", hint=hint
        )
    return model


def bind_encoder(
    model: ClassifierModel,
    architecture: str,
    *,
    width: int,
    class_token_id: int | None,
    has_pooler: bool,
    kept: Collection[str],
) -> None:
    """Tell a classifier what it needs to know about its encoder.

    Args:
        model: What `make_classifier` returned.
        architecture: The name that it was made by.
        width: Width of the encoder.
        class_token_id: Id of the class token; None if the encoder has none.
        has_pooler: Whether the encoder has a trained pooler.
        kept: The activations that trf_tok2vec keeps on the Docs.

    Raises:
        PipelineError: The encoder doesn't provide what the architecture reads.
    """
    available = {
        "softmax_last_hidden": True,
        "softmax_class_vector": class_token_id is not None,
        "softmax_pooler_output": has_pooler,
    }
    if not available.get(architecture, True):
        missing = "class token" if architecture == "softmax_class_vector" else "trained pooler"
        raise PipelineError(
            f"{architecture}: this encoder has no {missing}",
            hint=f"Use {' or '.join(name for name in CLASSIFIERS if available[name])}",
        )
    for layer in model.get_ref("features").walk():
        kind = layer.attrs.get("reads")
        if kind is not None and kind not in kept:
            raise PipelineError(
                f"{architecture}: reads {kind}, which trf_tok2vec doesn't keep",
                hint=f'Set keep = ["{kind}"] for trf_tok2vec',
            )
        if "class_token_id" in layer.attrs:
            layer.attrs["class_token_id"] = class_token_id
    _set_width(model, width)


def classifier_width(model: Model[Any, Any]) -> int | None:
    """Return the width of a classifier's encoder; None for other models, or if it isn't known."""
    if not model.has_ref("features") or not model.has_ref("output_layer"):
        return None
    output = model.get_ref("output_layer")
    return output.get_dim("nI") if output.has_dim("nI") else None


def kinds_read(model: ClassifierModel) -> frozenset[str]:
    """What a classifier reads of the encoder's output: some of `KINDS`, and "tensor".

    Those that `make_classifier` made say so. Other people's may read all.
    """
    return frozenset(model.attrs.get("kinds_read", (*KINDS, TENSOR))) | {SEGMENT_SUMS}


def _pool(vectors: Model[list[Doc], Ragged], pooling: str) -> DocFeatures:
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
    # Zero weights: every class is equally likely at first, and two runs start alike.
    output = Linear(nO, nI, init_W=zero_init)
    with Model.define_operators({">>": chain}):
        model: ClassifierModel = features >> Dropout() >> output >> class_scores(exclusive)
    model.set_ref("features", features)
    model.set_ref("output_layer", output)
    read = {layer.attrs["reads"] for layer in features.walk() if "reads" in layer.attrs}
    model.attrs["kinds_read"] = sorted(read)
    if nI is not None:
        _set_width(model, nI)
    return model


def _set_width(model: ClassifierModel, width: int) -> None:
    model.get_ref("output_layer").set_dim("nI", width)
    features = model.get_ref("features")
    if features.has_ref("attention"):
        features.get_ref("attention").set_dim("nO", width)
