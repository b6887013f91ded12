"""From Docs to the input of the encoder, and from its output to token rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from thinc.api import Ops
from thinc.types import Floats2d

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.encoder.transfers import download
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.token_rows import device_token_rows, token_rows
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.extensions import doc_alignment

# Number of tokens whose rows are computed together: few enough for the caches of a CPU.
_CACHED_TOKENS = 1024


def rows_by_doc(
    ops: Ops, alignments: Sequence[Alignment], piece_rows: Floats2d
) -> Iterator[Floats2d]:
    """Compute the token rows of each Doc.

    Args:
        ops: The ops of the rows' device.
        alignments: The alignment of each Doc.
        piece_rows: The wordpiece rows of all Docs. *Shape:* (wordpieces, width)

    Yields:
        The token rows of a Doc. *Shape:* (tokens, width)
    """
    token_ends = np.cumsum([each.n_tokens for each in alignments])
    chunk_ends = np.flatnonzero(np.diff(token_ends // _CACHED_TOKENS, append=-1)) + 1
    piece = first = 0
    for end in chunk_ends.tolist():
        some = alignments[first:end]
        batch = Alignment.concatenate(some)
        rows = token_rows(ops, batch.shares(), piece_rows[piece : piece + batch.n_pieces])
        token_ends = np.cumsum([each.n_tokens for each in some])
        yield from ops.xp.split(rows, token_ends[:-1])
        first, piece = end, piece + batch.n_pieces


def start_download(
    ops: Ops, docs: Sequence[Doc], outputs: Activations, kinds: Collection[str]
) -> Callable[[], tuple[list[Floats2d], Activations]]:
    """Start to compute token rows, and to copy them and outputs to where Thinc computes.

    Args:
        ops: Thinc's ops.
        docs: The Docs, with wordpieces.
        outputs: Tensors on the encoder's device.
        kinds: The outputs to copy.

    Returns:
        A function that waits for the result: the token rows of each Doc, and the outputs as arrays.
    """
    alignments = [doc_alignment(doc) for doc in docs]
    kept = outputs.only(kinds)
    if outputs.last_hidden_state.device.type == "cpu":
        # The outputs that aren't kept can be read without being copied.
        hidden, *arrays = download([outputs.last_hidden_state, *kept.arrays()], ops)()
        rows = list(rows_by_doc(ops, alignments, hidden))
        return lambda: (rows, kept.with_arrays(arrays))
    batch = Alignment.concatenate(alignments)
    all_rows = device_token_rows(batch.shares(), outputs.last_hidden_state)
    wait = download([all_rows, *kept.arrays()], ops)

    def result() -> tuple[list[Floats2d], Activations]:
        rows, *arrays = wait()
        ends = np.cumsum([each.n_tokens for each in alignments])
        return ops.xp.split(rows, ends[:-1]), kept.with_arrays(arrays)

    return result


def word_pieces(docs: Sequence[Doc], known: int | None = None) -> WordPieces:
    """Concatenate the wordpieces of a batch of Docs as input of the encoder.

    Args:
        docs: The Docs.
        known: Number of wordpieces that the encoder knows; None for any.

    Raises:
        PipelineError: A Doc has no wordpieces, or some that the encoder doesn't know.
    """
    lengths = [doc_alignment(doc).segments[:, 2] for doc in docs]
    type_ids = None
    if any(doc._.trf_token_type_ids is not None for doc in docs):
        type_ids = _concatenate(
            [doc._.trf_token_type_ids or [0] * len(doc._.trf_word_pieces) for doc in docs]
        )
    ids = _concatenate([doc._.trf_word_pieces for doc in docs])
    if known is not None and ids.max(initial=0) >= known:
        raise PipelineError(
            f"A Doc has the wordpiece {ids.max()}, but the encoder knows only {known}",
            hint="Use trf_wordpiecer and trf_tok2vec of the same model",
        )
    return WordPieces(
        ids=ids,
        lengths=np.concatenate([np.empty(0, np.int32), *lengths]),
        type_ids=type_ids,
    )


def _concatenate(lists: Iterable[list[int]]) -> NDArray[np.int64]:
    return np.array([each for one in lists for each in one], dtype=np.int64)
