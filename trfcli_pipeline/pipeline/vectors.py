"""Vectors and similarity of Doc, Span and Token, from the rows of `doc.tensor`."""

from typing import Any

from spacy.tokens import Doc, Span, Token

from trfcli_pipeline.encoder.activations import Floats


def set_vector_hooks(doc: Doc) -> None:
    """Let a Doc and its parts take their vectors from `doc.tensor`.

    The vector of a Token is its row, that of a Doc or a Span the sum of its tokens' rows.
    Similarity is the cosine, 0.0 where a vector is zero.
    """
    doc.user_hooks["vector"] = _sum_of_rows
    doc.user_hooks["vector_norm"] = _norm
    doc.user_hooks["has_vector"] = _has_vector
    doc.user_hooks["similarity"] = _similarity
    # No "vector_norm": where it is set, Span.vector_norm calls "vector" instead (spaCy 3.8).
    doc.user_span_hooks["vector"] = _sum_of_rows
    doc.user_span_hooks["has_vector"] = _has_vector
    doc.user_span_hooks["similarity"] = _similarity
    doc.user_token_hooks["vector"] = _row
    doc.user_token_hooks["vector_norm"] = _norm
    doc.user_token_hooks["has_vector"] = _has_vector
    doc.user_token_hooks["similarity"] = _similarity


def _row(token: Token) -> Floats:
    return token.doc.tensor[token.i]


def _sum_of_rows(part: Doc | Span) -> Floats:
    rows: Any = part.doc.tensor[part.start : part.end] if isinstance(part, Span) else part.tensor
    return rows.sum(axis=0)


def _norm(part: Doc | Span | Token) -> float:
    vector: Floats = part.vector
    return float((vector**2).sum() ** 0.5)


def _has_vector(part: Doc | Span | Token) -> bool:
    return bool(part.vector.any())


def _similarity(one: Doc | Span | Token, other: Any) -> float:
    norms = _norm(one) * _norm(other)
    return float(one.vector @ other.vector) / norms if norms else 0.0
