"""Gradients on the Doc: heads add theirs, the encoder's backward pass collects them."""

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.types import Floats2d, FloatsXd

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.retokenizing import discard, store, stored

HIDDEN = "trf_last_hidden_state"
POOLER = "trf_pooler_output"


def add_gradient(doc: Doc, name: str, index: slice | NDArray[np.intp], gradient: Floats2d) -> None:
    """Add to the gradient of one of a Doc's activations.

    Does nothing unless an update of the encoder is running, for example if it is frozen.

    Args:
        doc: The Doc that the head read.
        name: Attribute of the activation, such as "trf_last_hidden_state".
        index: The rows that the gradient is for: a slice, or an array of distinct indices.
        gradient: *Shape:* (rows, width), or (width,) for the same gradient in every row.
    """
    attribute = _gradient_of(name)
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


def begin_gradient(doc: Doc, attribute: str, zeros: FloatsXd) -> None:
    """Set a gradient of zeros on a Doc, to which heads may add in place.

    Args:
        doc: The Doc.
        attribute: Attribute of the gradient, such as "trf_d_last_hidden_state".
        zeros: The Doc's part of the batch's array.
    """
    store(doc, attribute, zeros)
    store(doc, _ours(attribute), zeros)


def is_replaced(doc: Doc, attribute: str) -> bool:
    """Check whether a head has replaced the array that `begin_gradient` set."""
    return stored(doc, attribute) is not stored(doc, _ours(attribute))


def end_gradient(doc: Doc, attribute: str) -> None:
    """Remove a gradient from a Doc."""
    store(doc, attribute, None)
    discard(doc, _ours(attribute))


def takes_gradient(doc: Doc, name: str) -> bool:
    """Check whether the encoder is waiting for gradients of one of the Doc's activations."""
    return stored(doc, _gradient_of(name)) is not None


def missing_activation(name: str) -> PipelineError:
    """Create the error for a Doc that lacks what a head reads."""
    return PipelineError(
        f"A Doc has no {name}",
        hint="The pipeline needs trf_wordpiecer and trf_tok2vec before this component. The "
        "`keep` setting of trf_tok2vec must include what this component reads. If trf_tok2vec is "
        "frozen, add it to annotating_components. Components can't be updated one by one, as "
        "`spacy debug model` does: call nlp.update",
    )


def _gradient_of(name: str) -> str:
    return name.replace("trf_", "trf_d_", 1)


def _ours(attribute: str) -> str:
    """Name of the attribute with the encoder's array, or the latest view of it."""
    return f"{attribute}_ours"
