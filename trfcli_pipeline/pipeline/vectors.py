"""Hooks that compute vectors and similarity from the rows of `doc.tensor`."""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc, Span, Token
from thinc.types import Floats1d

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_tensor import doc_tensor


def set_vector_hooks(doc: Doc) -> None:
    """Set the vector and similarity hooks of a Doc, its Spans and its Tokens.

    The vector of a Token is its row of `doc.tensor`; the vector of a Doc or Span is the sum of its
    rows. Similarity is the cosine, or 0.0 if a vector is zero.
    """
    doc.user_hooks.update(_DOC_HOOKS)
    doc.user_span_hooks.update(_SPAN_HOOKS)
    doc.user_token_hooks.update(_TOKEN_HOOKS, vector=_Row(doc.tensor))


class _Row:
    """Returns a token's row of `doc.tensor`.

    Args:
        tensor: What `doc.tensor` is as long as no tokens are merged or split, so that we don't have
            to compare all tokens for each of them.
    """

    def __init__(self, tensor: Any = None) -> None:
        self.tensor = tensor

    def __call__(self, token: Token) -> Floats1d:
        if token.doc.tensor is not self.tensor:
            self.tensor = doc_tensor(token.doc)
        return self.tensor[token.i]

    def __reduce__(self) -> tuple[Any, ...]:
        # spaCy pickles the hooks of a Doc beside its tensor.
        return _Row, ()


def _sum_of_rows(part: Doc | Span) -> Floats1d:
    if isinstance(part, Span):
        return doc_tensor(part.doc)[part.start : part.end].sum(axis=0)
    return doc_tensor(part).sum(axis=0)


def _norm(part: Doc | Span | Token) -> float:
    vector: Any = part.vector
    return float((vector**2).sum() ** 0.5)


def _has_vector(part: Doc | Span | Token) -> bool:
    return bool(part.vector.any())


def _similarity(one: Doc | Span | Token, other: Any) -> float:
    norms = _norm(one) * _norm(other)
    if not norms:
        return 0.0
    if len(one.vector) != len(other.vector):
        raise PipelineError(
            f"A vector of {len(one.vector)} numbers can't be compared with one of "
            f"{len(other.vector)}",
            hint="Process both texts with the same pipeline",
        )
    return float(one.vector @ other.vector) / norms


_DOC_HOOKS: dict[str, Callable[..., Any]] = {
    "vector": _sum_of_rows,
    "vector_norm": _norm,
    "has_vector": _has_vector,
    "similarity": _similarity,
}
# No "vector_norm": if it is set, Span.vector_norm calls "vector" instead (spaCy 3.8).
_SPAN_HOOKS = {name: hook for name, hook in _DOC_HOOKS.items() if name != "vector_norm"}
_TOKEN_HOOKS = {name: hook for name, hook in _DOC_HOOKS.items() if name != "vector"}
