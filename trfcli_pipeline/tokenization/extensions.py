"""The `._.trf_*` attributes of Doc, Span and Token.

The components store their output on the Doc, as lists and plain arrays, so that it survives
`Doc.to_bytes`. Span and Token look up their part of it along the axis of each attribute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span, Token

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.alignment import (
    Alignment,
    Ints,
    indices_per_token,
    links_from_indices,
)

_BY_PIECE = (
    "trf_word_pieces",
    "trf_word_pieces_",
    "trf_token_type_ids",
    "trf_last_hidden_state",
    "trf_d_last_hidden_state",
)
_BY_LAYER = ("trf_all_hidden_states", "trf_d_all_hidden_states")
_BY_SEGMENT = (
    "trf_pooler_output",
    "trf_all_attentions",
    "trf_d_pooler_output",
    "trf_d_all_attentions",
)
# The alignment as arrays (see `alignment.Alignment`); `trf_alignment` returns lists.
_OF_DOC = ("trf_alignment_links", "trf_segments", "trf_unseen_tokens")


def install_extensions() -> None:
    """Register the attributes. Importing the package does this; repeated calls have no effect.

    Raises:
        ValueError: Another package has registered an attribute of the same name.
    """
    for name in (*_BY_PIECE, *_BY_LAYER, *_BY_SEGMENT, *_OF_DOC):
        _install(Doc, name, default=None)
    _install(Doc, "trf_alignment", getter=_doc_alignment, setter=_set_doc_alignment)
    _install(Doc, "all_attentions", getter=_all_attentions_of_doc)
    _install(Token, "trf_alignment", getter=_token_alignment)
    _install(Span, "trf_alignment", getter=_span_alignment)
    for part in (Span, Token):
        for name, getter in _GETTERS_OF_PARTS.items():
            _install(part, name, getter=getter)


def doc_alignment(doc: Doc) -> Alignment:
    """Return the alignment of a Doc.

    Raises:
        PipelineError: The Doc has no wordpieces.
    """
    if doc._.trf_segments is None:
        raise PipelineError(
            "A Doc has no wordpieces",
            hint="Add trf_wordpiecer to the pipeline, before trf_tok2vec. If it is frozen, add it "
            "to annotating_components",
        )
    known = (doc._.trf_alignment_links, doc._.trf_segments, len(doc))
    unseen = doc._.trf_unseen_tokens
    return Alignment(*known) if unseen is None else Alignment(*known, unseen)


def _install(owner: type[Doc | Span | Token], name: str, **definition: Any) -> None:
    default, method, getter, setter = (
        definition.get(key) for key in ("default", "method", "getter", "setter")
    )
    if owner.has_extension(name) and owner.get_extension(name) == (default, method, getter, setter):
        return
    owner.set_extension(name, **definition)


def _doc_alignment(doc: Doc) -> list[list[int]] | None:
    links = doc._.trf_alignment_links
    return None if links is None else indices_per_token(links, len(doc))


def _set_doc_alignment(doc: Doc, indices: list[list[int]]) -> None:
    doc._.trf_alignment_links = links_from_indices(indices)


def _links_between(doc: Doc, start: int, end: int) -> Ints:
    links: Ints = doc._.trf_alignment_links
    first, last = np.searchsorted(links[:, 0], [start, end])
    return links[first:last]


def _token_alignment(token: Token) -> list[int] | None:
    if token.doc._.trf_alignment_links is None:
        return None
    return _links_between(token.doc, token.i, token.i + 1)[:, 1].tolist()


def _span_alignment(span: Span) -> list[list[int]] | None:
    if span.doc._.trf_alignment_links is None:
        return None
    links = _links_between(span.doc, span.start, span.end) - (span.start, 0)
    return indices_per_token(links, len(span))


def _token_range(part: Span | Token) -> tuple[int, int]:
    return (part.i, part.i + 1) if isinstance(part, Token) else (part.start, part.end)


def _piece_slice(part: Span | Token) -> slice:
    """Return the range from the first wordpiece of the part to its last."""
    pieces = _links_between(part.doc, *_token_range(part))[:, 1]
    return slice(int(pieces.min()), int(pieces.max()) + 1) if len(pieces) else slice(0, 0)


def _segment_slice(part: Span | Token) -> slice:
    """Return the segments of the part's tokens; a truncated token belongs to the one before it."""
    start, end = _token_range(part)
    if start == end:
        return slice(0, 0)
    firsts = part.doc._.trf_segments[:, 0]
    # A token that was divided is the first token of several segments. Any other token belongs to
    # the last segment that starts before it.
    first = min(np.searchsorted(firsts, start), np.searchsorted(firsts, start, side="right") - 1)
    return slice(max(int(first), 0), int(np.searchsorted(firsts, end)))


@dataclass(frozen=True, slots=True)
class _PartOf:
    """Getter that selects a Span's or Token's part of an attribute of its Doc.

    This is a class because closures don't pickle: `nlp.pipe` sends the attributes to worker
    processes, which most systems spawn.
    """

    name: str
    select: Callable[[Any, Span | Token], Any]

    def __call__(self, part: Span | Token) -> Any:
        values = part.doc._.get(self.name)
        return None if values is None else self.select(values, part)


def _pieces(values: Any, part: Span | Token) -> Any:
    return values[_piece_slice(part)]


def _pieces_of_layers(layers: Any, part: Span | Token) -> Any:
    return [layer[_piece_slice(part)] for layer in layers]


def _segments(values: Any, part: Span | Token) -> Any:
    return values[_segment_slice(part)]


def _all_attentions_of_doc(doc: Doc) -> Any:
    return doc._.trf_all_attentions


_GETTERS_OF_PARTS: dict[str, _PartOf] = {
    **{name: _PartOf(name, _pieces) for name in _BY_PIECE},
    **{name: _PartOf(name, _pieces_of_layers) for name in _BY_LAYER},
    **{name: _PartOf(name, _segments) for name in _BY_SEGMENT},
    "all_attentions": _PartOf("trf_all_attentions", _segments),
}
