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
from trfcli_pipeline.evaluation.classifier import (
    Classifier,
    is_unsure,
    label_set,
    predicted_labels,
)
from trfcli_pipeline.tokenization.alignment import (
    Alignment,
    Ints,
    indices_per_token,
    links_from_indices,
)
from trfcli_pipeline.tokenization.doc_attributes import (
    ATTENTIONS,
    CLASSIFIERS,
    FINGERPRINT,
    HIDDEN,
    HIDDENS,
    LINKS,
    NOVELTY,
    PIECE_SPANS,
    POOLER,
    SEGMENTS,
    STRINGS,
    SUMS,
    TENSOR_SPANS,
    TOKEN_SPANS,
    TYPE_IDS,
    UNSEEN,
    WORD_PIECES,
    gradient_of,
    store,
    stored,
)
from trfcli_pipeline.tokenization.retokenizing import follow_tokens, is_token

_BY_PIECE = (WORD_PIECES, STRINGS, TYPE_IDS, HIDDEN, gradient_of(HIDDEN))
_BY_LAYER = (HIDDENS, gradient_of(HIDDENS))
_BY_SEGMENT = (POOLER, ATTENTIONS, SUMS, *map(gradient_of, (POOLER, ATTENTIONS, SUMS)))
# The alignment as arrays (see `alignment.Alignment`); `trf_alignment` returns lists.
_FOLLOWING = (LINKS, SEGMENTS, UNSEEN)
_OF_DOC = (TOKEN_SPANS, PIECE_SPANS, TENSOR_SPANS, FINGERPRINT, CLASSIFIERS, NOVELTY)


def install_extensions() -> None:
    """Register the attributes. Importing a component does this; repeated calls have no effect.

    Raises:
        ValueError: Another package has registered an attribute of the same name.
    """
    for name in (*_BY_PIECE, *_BY_LAYER, *_BY_SEGMENT, *_OF_DOC):
        install_extension(Doc, name, default=None)
    install_extension(Doc, "trf_labels", getter=_doc_labels)
    install_extension(Doc, "trf_unsure", getter=_doc_unsure)
    install_extension(Doc, "trf_label_set", getter=_doc_label_set)
    for name in _FOLLOWING:
        install_extension(Doc, name, getter=_Follow(name), setter=_Store(name))
    install_extension(Doc, "trf_alignment", getter=_doc_alignment, setter=_set_doc_alignment)
    install_extension(Doc, "all_attentions", getter=_all_attentions_of_doc)
    install_extension(Token, "trf_alignment", getter=_token_alignment)
    install_extension(Span, "trf_alignment", getter=_span_alignment)
    for part in (Span, Token):
        for name, getter in _GETTERS_OF_PARTS.items():
            install_extension(part, name, getter=getter)


def doc_alignment(doc: Doc) -> Alignment:
    """Return the alignment of a Doc's tokens, as they are now.

    Raises:
        PipelineError: The Doc has no wordpieces.
    """
    follow_tokens(doc)
    known = (stored(doc, LINKS), doc_segments(doc), len(doc))
    unseen = stored(doc, UNSEEN)
    return Alignment(*known) if unseen is None else Alignment(*known, unseen)


def doc_segments(doc: Doc) -> Ints:
    """Return the segments of a Doc, whose tokens may have changed since; see `Alignment`.

    Raises:
        PipelineError: The Doc has no wordpieces.
    """
    segments: Ints | None = stored(doc, SEGMENTS)
    if segments is None:
        raise PipelineError(
            "A Doc has no wordpieces",
            hint="Add trf_wordpiecer to the pipeline, before trf_tok2vec. If it is frozen, add it "
            "to annotating_components. Components can't be updated one by one, as `spacy debug "
            "model` does: call nlp.update",
        )
    return segments


def add_classifier(doc: Doc, classifier: Classifier) -> None:
    """Let `doc._.trf_labels`, `trf_unsure` and `trf_label_set` decide by a classifier's `doc.cats`.

    It replaces an earlier one that has the same labels.
    """
    others = stored(doc, CLASSIFIERS) or ()
    if others:
        # From `Doc.from_bytes`, tuples come back as lists.
        labels = tuple(classifier.labels)
        others = [each for each in others if tuple(each[1]) != labels]
    store(doc, CLASSIFIERS, (*others, tuple(classifier)))


def _classifiers(doc: Doc) -> list[Classifier]:
    return [Classifier.restore(each) for each in stored(doc, CLASSIFIERS) or ()]


def _doc_labels(doc: Doc) -> list[str]:
    return predicted_labels(doc.cats, _classifiers(doc))


def _doc_unsure(doc: Doc) -> bool | None:
    return is_unsure(doc.cats, _classifiers(doc))


def _doc_label_set(doc: Doc) -> list[str] | None:
    return label_set(doc.cats, _classifiers(doc))


def install_extension(owner: type[Doc | Span | Token], name: str, **definition: Any) -> None:
    """Register an attribute; see `spacy.tokens.Doc.set_extension`. Repeated calls have no effect.

    Raises:
        ValueError: Another package has registered an attribute of the same name.
    """
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
    store(doc, LINKS, links_from_indices(indices))


def _links_of(part: Span | Token) -> Ints | None:
    """Return the links of a part's tokens; None if its Doc has no wordpieces."""
    _follow_tokens_of(part)
    links: Ints | None = stored(part.doc, LINKS)
    if links is None:
        return None
    first, last = np.searchsorted(links[:, 0], _token_range(part))
    return links[first:last]


def _follow_tokens_of(part: Span | Token) -> None:
    spans = stored(part.doc, TOKEN_SPANS)
    # All tokens would have to be compared for each of them, if users loop over them.
    if spans is not None and not (isinstance(part, Token) and is_token(part, spans)):
        follow_tokens(part.doc)


def _token_alignment(token: Token) -> list[int] | None:
    links = _links_of(token)
    return None if links is None else links[:, 1].tolist()


def _span_alignment(span: Span) -> list[list[int]] | None:
    links = _links_of(span)
    return None if links is None else indices_per_token(links - (span.start, 0), len(span))


def _token_range(part: Span | Token) -> tuple[int, int]:
    return (part.i, part.i + 1) if isinstance(part, Token) else (part.start, part.end)


def _piece_slice(part: Span | Token) -> slice:
    """Return the range from the first wordpiece of the part to its last."""
    links = _links_of(part)
    if links is None or not len(links):
        return slice(0, 0)
    return slice(int(links[:, 1].min()), int(links[:, 1].max()) + 1)


def _segment_slice(part: Span | Token) -> slice:
    """Return the segments of the part's tokens; a truncated token belongs to the one before it."""
    start, end = _token_range(part)
    if start == end:
        return slice(0, 0)
    _follow_tokens_of(part)
    firsts = stored(part.doc, SEGMENTS)[:, 0]
    # A token that was divided is the first token of several segments. Any other token belongs to
    # the last segment that starts before it.
    first = min(np.searchsorted(firsts, start), np.searchsorted(firsts, start, side="right") - 1)
    return slice(max(int(first), 0), int(np.searchsorted(firsts, end)))


# These are classes because closures don't pickle: `nlp.pipe` sends the attributes to worker
# processes, which most systems spawn.


@dataclass(frozen=True, slots=True)
class _Follow:
    """Getter of an attribute of the Doc that is up to date with its tokens."""

    name: str

    def __call__(self, doc: Doc) -> Any:
        follow_tokens(doc)
        return stored(doc, self.name)


@dataclass(frozen=True, slots=True)
class _Store:
    """Setter of such an attribute."""

    name: str

    def __call__(self, doc: Doc, value: Any) -> None:
        store(doc, self.name, value)


@dataclass(frozen=True, slots=True)
class _PartOf:
    """Getter that selects a Span's or Token's part of an attribute of its Doc."""

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
    return stored(doc, ATTENTIONS)


_GETTERS_OF_PARTS: dict[str, _PartOf] = {
    **{name: _PartOf(name, _pieces) for name in _BY_PIECE},
    **{name: _PartOf(name, _pieces_of_layers) for name in _BY_LAYER},
    **{name: _PartOf(name, _segments) for name in _BY_SEGMENT},
    "all_attentions": _PartOf(ATTENTIONS, _segments),
}
