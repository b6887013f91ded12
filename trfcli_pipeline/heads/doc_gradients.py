"""Gradients on the Doc: heads add theirs, the encoder's backward pass collects them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import get_array_module
from thinc.types import Floats2d, FloatsXd

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.doc_attributes import (
    HIDDEN,
    SEGMENTS,
    SUMS,
    discard,
    gradient_of,
    store,
    stored,
)

# An array, or a list of arrays for outputs with several layers or segments.
Gradient = FloatsXd | list[FloatsXd]


def begin_gradient(doc: Doc, name: str, zeros: Gradient) -> None:
    """Set a gradient of zeros on a Doc, to which heads may add in place.

    Args:
        doc: The Doc.
        name: Attribute of the activation, such as "trf_last_hidden_state".
        zeros: The Doc's part of the batch's gradient.
    """
    attribute = gradient_of(name)
    # A head may replace items of its Doc's list, but not of ours.
    store(doc, attribute, list(zeros) if isinstance(zeros, list) else zeros)
    store(doc, _ours(attribute), zeros)


def takes_gradient(doc: Doc, name: str) -> bool:
    """Check whether the encoder is waiting for gradients of one of the Doc's activations."""
    return stored(doc, gradient_of(name)) is not None


def add_gradient(doc: Doc, name: str, index: slice | NDArray[np.intp], gradient: Floats2d) -> None:
    """Add to the gradient of one of a Doc's activations.

    Does nothing unless an update of the encoder is running, for example if it is frozen.

    Args:
        doc: The Doc that the head read.
        name: Attribute of the activation, such as "trf_last_hidden_state".
        index: The rows that the gradient is for: a slice, or an array of distinct indices.
        gradient: *Shape:* (rows, width), or (width,) for the same gradient in every row.
    """
    attribute = gradient_of(name)
    total = stored(doc, attribute)
    if total is None:
        return
    is_ours = total is stored(doc, _ours(attribute))
    if not is_ours:
        # A head has set an array of its own, which may be read-only or shared by Docs.
        total = total.copy()
    total[index] += gradient
    # A new view tells the encoder that a head has added a gradient, which may be all zeros.
    total = total[:]
    store(doc, attribute, total)
    if is_ours:
        store(doc, _ours(attribute), total)


def add_sum_gradient(doc: Doc, d_sums: Floats2d) -> None:
    """Add the gradient of the sums of a Doc's segments; to their rows, if these have a gradient.

    Args:
        doc: The Doc that the head read.
        d_sums: *Shape:* (segments, width), or (width,) for the same gradient for every segment.
    """
    if not takes_gradient(doc, HIDDEN):
        add_gradient(doc, SUMS, slice(None), d_sums)
        return
    if d_sums.ndim > 1:
        lengths = stored(doc, SEGMENTS)[:, 2].tolist()
        d_sums = get_array_module(d_sums).repeat(d_sums, lengths, axis=0)
    add_gradient(doc, HIDDEN, slice(None), d_sums)


def has_gradient(doc: Doc, name: str, zeros: Gradient) -> bool:
    """Check whether a head has added to a gradient or replaced it since `begin_gradient`."""
    return _differs(stored(doc, gradient_of(name)), zeros)


def take_gradient(doc: Doc, name: str, zeros: Gradient) -> None:
    """Write the gradient of a Doc to its part of the batch's, and remove it from the Doc.

    Args:
        doc: The Doc.
        name: Attribute of the activation.
        zeros: What `begin_gradient` got; it may have the heads' gradients already.

    Raises:
        PipelineError: A head has set an array of another shape.
    """
    attribute = gradient_of(name)
    now = stored(doc, attribute)
    if now is not stored(doc, _ours(attribute)):
        _copy(now, zeros, attribute)
    end_gradient(doc, name)


def end_gradient(doc: Doc, name: str) -> None:
    """Remove a gradient from a Doc."""
    attribute = gradient_of(name)
    store(doc, attribute, None)
    discard(doc, _ours(attribute))


def missing_activation(name: str) -> PipelineError:
    """Create the error for a Doc that lacks what a head reads."""
    keep = "The `keep` setting of trf_tok2vec must include what this component reads. "
    return PipelineError(
        f"A Doc has no {name}",
        hint="The pipeline needs trf_wordpiecer and trf_tok2vec before this component. "
        f"{'' if name == SUMS else keep}If trf_tok2vec is frozen, add it to annotating_components. "
        "Components can't be updated one by one, as `spacy debug model` does: call nlp.update",
    )


def _ours(attribute: str) -> str:
    """Name of the attribute with the batch's array, or with the latest view of it."""
    return f"{attribute}_ours"


def _differs(now: Any, zeros: Any) -> bool:
    if isinstance(zeros, list):
        return now is None or len(now) != len(zeros) or any(map(_differs, now, zeros))
    return now is not zeros or bool(zeros.any())


def _copy(now: Any, into: Any, attribute: str) -> None:
    """Copy a gradient to a part of the batch's; None stands for no gradient."""
    if now is None or now is into:
        return
    if isinstance(into, list):
        for array, part in zip(now, into, strict=True):
            _copy(array, part, attribute)
        return
    if now.shape != into.shape:
        raise PipelineError(
            f"{attribute} of a Doc has the shape {now.shape} instead of {into.shape}",
            hint="A component has replaced it: let it keep the shape",
        )
    into[...] = now
