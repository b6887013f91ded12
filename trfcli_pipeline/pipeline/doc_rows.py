"""From Docs to the input of the encoder, and from its output to token rows."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

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
from trfcli_pipeline.tokenization.doc_attributes import TYPE_IDS, WORD_PIECES, stored
from trfcli_pipeline.tokenization.extensions import doc_segments

# Number of tokens whose rows are computed together: few enough for the caches of a CPU.
_CACHED_TOKENS = 1024


class TokenRows(NamedTuple):
    """The token rows of some consecutive Docs.

    Attributes:
        counts: Number of tokens of each Doc.
        rows: Their token rows, laid end to end. *Shape:* (tokens, width)
    """

    counts: list[int]
    rows: Floats2d

    def by_doc(self) -> list[Floats2d]:
        """The token rows of each Doc, as views. *Shape of each:* (tokens, width)"""
        ends = accumulate(self.counts, initial=0)
        return [self.rows[start:end] for start, end in pairwise(ends)]


def compute_token_rows(
    ops: Ops, alignments: Sequence[Alignment], piece_rows: Floats2d
) -> Iterator[TokenRows]:
    """Compute the token rows of some Docs at a time.

    Args:
        ops: The ops of the rows' device.
        alignments: The alignment of each Doc.
        piece_rows: The wordpiece rows of all Docs. *Shape:* (wordpieces, width)

    Yields:
        The token rows of the next Docs.
    """
    token_ends = np.cumsum([each.n_tokens for each in alignments])
    chunk_ends = np.flatnonzero(np.diff(token_ends // _CACHED_TOKENS, append=-1)) + 1
    piece = first = 0
    for end in chunk_ends.tolist():
        some = alignments[first:end]
        batch = Alignment.concatenate(some)
        rows = token_rows(ops, batch.shares(), piece_rows[piece : piece + batch.n_pieces])
        yield TokenRows([each.n_tokens for each in some], rows)
        first, piece = end, piece + batch.n_pieces


def start_download(
    ops: Ops,
    alignments: Sequence[Alignment] | None,
    outputs: Activations,
    kinds: Collection[str],
    *,
    short_lived: bool = False,
) -> Callable[[], tuple[list[TokenRows], Activations]]:
    """Start to compute token rows, and to copy them and outputs to where Thinc computes.

    Args:
        ops: Thinc's ops.
        alignments: The alignment of each Doc; None for no token rows.
        outputs: Tensors on the encoder's device.
        kinds: The outputs to copy.
        short_lived: Whether the arrays are soon released; see `transfers.download`.

    Returns:
        A function that waits for the result: the token rows, and the outputs as arrays.
    """
    kept = outputs.only(kinds)
    if alignments is None:
        wait = download(kept.arrays(), ops, short_lived=short_lived)
        return lambda: ([], kept.with_arrays(wait()))
    if outputs.last_hidden_state.device.type == "cpu":
        # The outputs that aren't kept can be read without being copied.
        hidden, *arrays = download([outputs.last_hidden_state, *kept.arrays()], ops)()
        rows = list(compute_token_rows(ops, alignments, hidden))
        return lambda: (rows, kept.with_arrays(arrays))
    batch = Alignment.concatenate(alignments)
    all_rows = device_token_rows(batch.shares(), outputs.last_hidden_state)
    wait = download([all_rows, *kept.arrays()], ops, short_lived=short_lived)

    def result() -> tuple[list[TokenRows], Activations]:
        rows, *arrays = wait()
        counts = [each.n_tokens for each in alignments]
        return [TokenRows(counts, rows)], kept.with_arrays(arrays)

    return result


def word_pieces(docs: Sequence[Doc], known: int | None = None) -> WordPieces:
    """Concatenate the wordpieces of a batch of Docs as input of the encoder.

    Args:
        docs: The Docs.
        known: Number of wordpieces that the encoder knows; None for any.

    Raises:
        PipelineError: A Doc has no wordpieces, or one that the encoder doesn't know.
    """
    # The number of wordpieces of a segment stays if its tokens change.
    lengths = [doc_segments(doc)[:, 2] for doc in docs]
    pieces = [stored(doc, WORD_PIECES) for doc in docs]
    types = [stored(doc, TYPE_IDS) for doc in docs]
    type_ids = None
    if any(each is not None for each in types):
        type_ids = _concatenate(
            [own or [0] * len(each) for own, each in zip(types, pieces, strict=True)]
        )
    ids = _concatenate(pieces)
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
    return np.fromiter(chain.from_iterable(lists), np.int64)
