"""Lets the alignment follow the tokens when a component merges or splits them.

spaCy's retokenizer knows nothing of wordpieces. So a Doc stores the characters of its wordpieces,
and those of the tokens that its alignment refers to. Whoever reads the alignment compares these
with the tokens first, and has it computed again if they differ.
"""

from dataclasses import replace

import numpy as np
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc, Token

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.alignment import Alignment, Ints, link_spans
from trfcli_pipeline.tokenization.doc_attributes import (
    LINKS,
    PIECE_SPANS,
    SEGMENTS,
    TOKEN_SPANS,
    UNSEEN,
    store,
    stored,
)


def follow_tokens(doc: Doc) -> None:
    """Compute the alignment again if tokens were merged or split since.

    Raises:
        PipelineError: The wordpieces are those of another text.
    """
    old_spans = stored(doc, TOKEN_SPANS)
    if old_spans is None or has_tokens(doc, old_spans):
        return
    spans = doc.to_array([IDX, LENGTH]).astype(np.int32).reshape(-1, 2)
    spans[:, 1] += spans[:, 0]
    if spans[-1:, 1].tolist() != old_spans[-1:, 1].tolist():
        raise PipelineError(
            "The wordpieces of a Doc are those of another text",
            hint="Process the Doc with the whole pipeline again",
        )
    old = Alignment(stored(doc, LINKS), stored(doc, SEGMENTS), len(old_spans))
    unseen = stored(doc, UNSEEN)
    old = old if unseen is None else replace(old, unseen=unseen)
    new = realign(old, old_spans, spans, stored(doc, PIECE_SPANS))
    store(doc, LINKS, new.links)
    store(doc, SEGMENTS, new.segments)
    store(doc, UNSEEN, None if unseen is None else new.unseen)
    store(doc, TOKEN_SPANS, spans)


def has_tokens(doc: Doc, spans: Ints) -> bool:
    """Check whether these are the spans of a Doc's tokens."""
    # As merging and splitting keep the text, the starts decide. For short texts, comparing bytes
    # takes half as long as comparing arrays.
    return (
        len(doc) == len(spans)
        and doc.to_array(IDX).astype(spans.dtype).tobytes() == spans[:, 0].tobytes()
    )


def is_token(token: Token, spans: Ints) -> bool:
    """Check whether a token is the one with its index in these spans, in constant time."""
    start, end = token.idx, token.idx + len(token)
    return len(token.doc) == len(spans) and spans[token.i].tolist() == [start, end]


def realign(alignment: Alignment, old_spans: Ints, spans: Ints, piece_spans: Ints) -> Alignment:
    """Express the alignment of a Doc by other tokens of the same text.

    A token is part of each segment that it overlaps, and unseen if all old tokens were that it
    overlaps.

    Args:
        alignment: The alignment of the old tokens.
        old_spans: Start and end character of each old token. *Shape:* (old tokens, 2)
        spans: Start and end character of each token. *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece. *Shape:* (wordpieces, 2)
    """
    segments = alignment.segments.copy()
    first_chars = old_spans[segments[:, 0], 0]
    end_chars = old_spans[segments[:, 1] - 1, 1]
    segments[:, 0] = np.searchsorted(spans[:, 1], first_chars, side="right")
    segments[:, 1] = np.searchsorted(spans[:, 0], end_chars, side="left")
    was_seen = np.ones(len(old_spans), bool)
    was_seen[alignment.unseen] = False
    is_seen = np.zeros(len(spans), bool)
    is_seen[link_spans(spans, old_spans[was_seen])[:, 0]] = True
    return Alignment(
        links=link_spans(spans, piece_spans),
        segments=segments,
        n_tokens=len(spans),
        unseen=np.flatnonzero(~is_seen).astype(np.int32),
    )
