"""The encoder's output on Docs: how it gets there, and how it is removed."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from spacy.tokens import Doc
from thinc.api import CupyOps, Ops
from thinc.types import Floats2d

from trfcli_pipeline.encoder.activations import KINDS, Activations
from trfcli_pipeline.heads.doc_tensor import set_doc_tensor
from trfcli_pipeline.pipeline.finite import check_finite
from trfcli_pipeline.pipeline.vectors import set_vector_hooks


def assign_outputs(
    name: str, ops: Ops, docs: Sequence[Doc], rows: Iterable[Floats2d], outputs: Activations
) -> None:
    """Assign the output of the encoder to Docs, and set the hooks of their vectors.

    Args:
        name: Name of the component, for errors.
        ops: Thinc's ops.
        docs: The Docs, with segments.
        rows: The token rows of each Doc. *Shape:* (tokens, width)
        outputs: The outputs to keep, of all Docs.

    Raises:
        NonFiniteError: Token rows are NaN or infinite.
    """
    parts = outputs.split([len(doc._.trf_segments) for doc in docs])
    for doc, part, tensor in zip(docs, parts, rows, strict=True):
        # Arrays on a GPU aren't checked, as that would wait for the device. The scores are.
        if not isinstance(ops, CupyOps):
            check_finite(name, "activations", tensor, [doc] * len(doc))
        set_doc_tensor(doc, tensor)
        for kind in KINDS:
            doc._.set(f"trf_{kind}", getattr(part, kind))
        set_vector_hooks(doc)


def clear_outputs(ops: Ops, docs: Iterable[Doc]) -> None:
    """Remove the output of the encoder from Docs."""
    for doc in docs:
        doc.tensor = cast(Any, ops.alloc1f(0))
        for kind in KINDS:
            doc._.set(f"trf_{kind}", None)
