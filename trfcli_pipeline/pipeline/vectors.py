"""Hooks that compute vectors and similarity from the rows of `doc.tensor`."""

from typing import Any

from spacy.tokens import Doc, Span, Token
from thinc.types import Floats1d


def set_vector_hooks(doc: Doc) -> None:
    """Set the vector and similarity hooks of a Doc, its Spans and its Tokens.

    The vector of a Token is its row of `doc.tensor`; the vector of a Doc or Span is the sum of its
    rows. Similarity is the cosine, or 0.0 if a vector is zero.
    """
    doc.user_hooks["vector"] = _sum_of_rows
    doc.user_hooks["vector_norm"] = _norm
    doc.user_hooks["has_vector"] = _has_vector
    doc.user_hooks["similarity"] = _similarity
    # No "vector_norm": if it is set, Span.vector_norm calls "vector" instead (spaCy 3.8).
    doc.user_span_hooks["vector"] = _sum_of_rows
    doc.user_span_hooks["has_vector"] = _has_vector
    doc.user_span_hooks["similarity"] = _similarity
    doc.user_token_hooks["vector"] = _row
    doc.user_token_hooks["vector_norm"] = _norm
    doc.user_token_hooks["has_vector"] = _has_vector
    doc.user_token_hooks["similarity"] = _similarity


def _row(token: Token) -> Floats1d:
    return token.doc.tensor[token.i]


def _sum_of_rows(part: Doc | Span) -> Floats1d:
    rows: Any = part.doc.tensor[part.start : part.end] if isinstance(part, Span) else part.tensor
    return rows.sum(axis=0)


def _norm(part: Doc | Span | Token) -> float:
    vector: Any = part.vector
    return float((vector**2).sum() ** 0.5)


def _has_vector(part: Doc | Span | Token) -> bool:
    return bool(part.vector.any())


def _similarity(one: Doc | Span | Token, other: Any) -> float:
    norms = _norm(one) * _norm(other)
    return float(one.vector @ other.vector) / norms if norms else 0.0
