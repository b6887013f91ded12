"""Docs as the input of the encoder, and its output as rows of their tokens."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc

from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.layers import token_rows
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.extensions import doc_alignment

# Tokens whose rows are computed together.
_CACHED_TOKENS = 1024


def alignment_of(doc: Doc) -> Alignment:
    alignment = doc_alignment(doc)
    if alignment is None:
        raise PipelineError(
            "A Doc has no wordpieces",
            hint="Add trf_wordpiecer to the pipeline, ahead of trf_tok2vec; if it is frozen, "
            "name it in annotating_components",
        )
    return alignment


def rows_by_doc(ops: Any, alignments: Sequence[Alignment], piece_rows: Any) -> Iterator[Any]:
    """The rows of each Doc's tokens, for some Docs at a time: these fit in the caches of a CPU."""
    token_ends = np.cumsum([each.n_tokens for each in alignments])
    some_ends = np.flatnonzero(np.diff(token_ends // _CACHED_TOKENS, append=-1)) + 1
    piece = first = 0
    for end in some_ends.tolist():
        some = alignments[first:end]
        whole = Alignment.concatenate(some)
        rows = token_rows(ops, whole.shares(), piece_rows[piece : piece + whole.n_pieces])
        ends = np.cumsum([each.n_tokens for each in some])
        yield from np.split(rows, ends[:-1])
        first, piece = end, piece + whole.n_pieces


def word_pieces(docs: Sequence[Doc]) -> WordPieces:
    """The wordpieces of some Docs, as the encoder takes them."""
    lengths = [alignment_of(doc).segments[:, 2] for doc in docs]
    type_ids = None
    if any(doc._.trf_token_type_ids is not None for doc in docs):
        type_ids = _concatenate(
            [doc._.trf_token_type_ids or [0] * len(doc._.trf_word_pieces) for doc in docs]
        )
    return WordPieces(
        ids=_concatenate([doc._.trf_word_pieces for doc in docs]),
        lengths=np.concatenate([np.empty(0, np.int32), *lengths]),
        type_ids=type_ids,
    )


def _concatenate(lists: Iterable[list[int]]) -> Any:
    return np.array([each for one in lists for each in one], dtype=np.int64)
