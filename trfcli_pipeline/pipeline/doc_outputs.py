"""The encoder's output on Docs: how it gets there, and how it is removed."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, cast

from spacy.tokens import Doc
from thinc.api import CupyOps, Ops

from trfcli_pipeline.encoder.activations import KINDS, Activations
from trfcli_pipeline.heads.doc_tensor import set_doc_tensor
from trfcli_pipeline.pipeline.doc_rows import TokenRows
from trfcli_pipeline.pipeline.finite import check_finite
from trfcli_pipeline.pipeline.vectors import set_vector_hooks
from trfcli_pipeline.tokenization.doc_attributes import discard, store
from trfcli_pipeline.tokenization.extensions import doc_segments


def assign_outputs(
    name: str,
    ops: Ops,
    docs: Sequence[Doc],
    token_rows: Iterable[TokenRows],
    outputs: Activations,
) -> None:
    """Assign the output of the encoder to Docs, and set the hooks of vectors if they have any.

    Args:
        name: Name of the component, for errors.
        ops: Thinc's ops.
        docs: The Docs.
        token_rows: The token rows of the Docs, some Docs at a time; none if they aren't kept.
        outputs: The outputs to keep, of all Docs.

    Raises:
        NonFiniteError: Rows are NaN or infinite.
    """
    # Arrays on a GPU aren't checked, as that would wait for the device. The scores are.
    is_checked = not isinstance(ops, CupyOps)
    rest = iter(docs)
    for part in token_rows:
        some = list(islice(rest, len(part.counts)))
        if is_checked:
            check_finite(name, "activations", part.rows, some, part.counts)
        for doc, rows in zip(some, part.by_doc(), strict=True):
            set_doc_tensor(doc, rows)
            set_vector_hooks(doc)
    segments_per_doc = [len(doc_segments(doc)) for doc in docs]
    sums = outputs.segment_sums
    if is_checked and sums is not None:
        check_finite(name, "activations", sums, docs, segments_per_doc)
    for kind, parts in outputs.split(segments_per_doc).items():
        for doc, part in zip(docs, parts, strict=True):
            store(doc, f"trf_{kind}", part)


def clear_outputs(ops: Ops, docs: Iterable[Doc]) -> None:
    """Remove the output of the encoder from Docs."""
    nothing = cast(Any, ops.alloc1f(0))
    for doc in docs:
        doc.tensor = nothing
        for kind in KINDS:
            discard(doc, f"trf_{kind}")
