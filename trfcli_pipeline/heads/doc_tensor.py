"""`doc.tensor` for the tokens of a Doc as they are now."""

from typing import Any, cast

from spacy.tokens import Doc
from thinc.backends import get_array_ops
from thinc.types import Floats2d

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.token_rows import token_rows
from trfcli_pipeline.tokenization.doc_attributes import (
    HIDDEN,
    TENSOR_SPANS,
    TOKEN_SPANS,
    store,
    stored,
)
from trfcli_pipeline.tokenization.extensions import doc_alignment
from trfcli_pipeline.tokenization.retokenizing import has_tokens


def doc_tensor(doc: Doc) -> Floats2d:
    """Return `doc.tensor`; compute it again if tokens were merged or split since.

    spaCy itself would keep the row of the last one of merged tokens, and give zeros to the parts of
    a token that was split.

    Returns:
        *Shape:* (tokens, width)

    Raises:
        PipelineError: Tokens have changed, and trf_tok2vec didn't keep the last hidden state.
    """
    if _is_stale(doc) and _is_stale(refresh_doc_tensor(doc)):
        raise PipelineError(
            "Tokens of a Doc were merged or split, so that its token vectors are lost",
            hint='Set keep = ["last_hidden_state"] for trf_tok2vec, or move the component that '
            "changes the tokens before it",
        )
    return cast(Floats2d, doc.tensor)


def refresh_doc_tensor(doc: Doc) -> Doc:
    """Do what `doc_tensor` does, if the last hidden state was kept. Returns the Doc."""
    hidden = stored(doc, HIDDEN)
    if hidden is not None and _is_stale(doc):
        shares = doc_alignment(doc).shares()
        set_doc_tensor(doc, token_rows(get_array_ops(hidden), shares, hidden))
    return doc


def set_doc_tensor(doc: Doc, rows: Floats2d) -> None:
    """Set `doc.tensor`, and remember the tokens that it belongs to.

    Args:
        doc: A Doc whose alignment is up to date.
        rows: *Shape:* (tokens, width)
    """
    doc.tensor = cast(Any, rows)
    store(doc, TENSOR_SPANS, stored(doc, TOKEN_SPANS))


def _is_stale(doc: Doc) -> bool:
    spans = stored(doc, TENSOR_SPANS)
    return spans is not None and not has_tokens(doc, spans)
