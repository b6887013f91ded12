"""Which wordpieces belong to which tokens, and how a wordpiece's row is shared among them.

A *segment* is what the encoder sees as one row, such as a sentence (see `segments.py`). Everything
is index arithmetic on whole batches; the arrays of floats are summed elsewhere (see `layers.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


def link_spans(token_spans: NDArray[np.integer], piece_spans: NDArray[np.integer]) -> Ints:
    """Link every wordpiece with the tokens whose characters it overlaps.

    Args:
        token_spans: Start and end character of each token; ascending, not overlapping.
            *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece, in the same text. A piece without
            characters, such as a special token, links with nothing. *Shape:* (wordpieces, 2)

    Returns:
        Token index and wordpiece index of each link, sorted by token, then by wordpiece.
        *Shape:* (links, 2)
    """
    starts, ends = piece_spans[:, 0], piece_spans[:, 1]
    first = np.searchsorted(token_spans[:, 1], starts, side="right")
    last = np.searchsorted(token_spans[:, 0], ends, side="left")
    counts = np.where(ends > starts, np.maximum(last - first, 0), 0)
    pieces = np.repeat(np.arange(len(piece_spans)), counts)
    tokens = np.repeat(first, counts) + offsets_within(counts)
    order = np.lexsort((pieces, tokens))
    return np.stack([tokens[order], pieces[order]], axis=1).astype(np.int32)


def offsets_within(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count up from 0 within each group: [2, 0, 3] gives [0, 1, 0, 1, 2]."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(np.sum(counts))) - np.repeat(starts, counts)


def indices_per_token(links: Ints, n_tokens: int) -> list[list[int]]:
    """The links as one list of wordpiece indices a token."""
    ends = np.cumsum(np.bincount(links[:, 0], minlength=n_tokens))
    pieces = links[:, 1].tolist()
    starts = [0, *ends[:-1].tolist()]
    return [pieces[start:end] for start, end in zip(starts, ends.tolist(), strict=False)]


def links_from_indices(indices: Sequence[Sequence[int]]) -> Ints:
    """The inverse of `indices_per_token`."""
    pairs = [(token, piece) for token, row in enumerate(indices) for piece in sorted(set(row))]
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


def _no_tokens() -> Ints:
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of one doc, or of a batch of docs laid end to end.

    Attributes:
        links: Token index and wordpiece index of each link, sorted by token. *Shape:* (links, 2)
        segments: First token, end token and number of wordpieces of each segment. Tokens behind
            the end token, up to the next segment, were truncated. A token that is longer than the
            encoder takes may be in several segments. *Shape:* (segments, 3)
        n_tokens: Number of tokens, truncated ones included.
        unseen: Tokens between the first and the end token of a segment that were truncated all
            the same, as at the end of the first text of a pair; ascending.
    """

    links: Ints
    segments: Ints
    n_tokens: int
    unseen: Ints = field(default_factory=_no_tokens)

    @property
    def n_pieces(self) -> int:
        return int(self.segments[:, 2].sum())

    @classmethod
    def concatenate(cls, alignments: Sequence["Alignment"]) -> "Alignment":
        """Lay the alignments of several docs end to end."""
        if len(alignments) == 1:
            return alignments[0]
        n_tokens = np.array([each.n_tokens for each in alignments], dtype=np.int32)
        n_pieces = np.array([each.n_pieces for each in alignments], dtype=np.int32)
        tokens_before = np.cumsum(n_tokens) - n_tokens
        pieces_before = np.cumsum(n_pieces) - n_pieces
        before = np.stack([tokens_before, pieces_before], axis=1)
        links = np.concatenate([np.empty((0, 2), np.int32), *(each.links for each in alignments)])
        links += np.repeat(before, [len(each.links) for each in alignments], axis=0)
        segments = np.concatenate(
            [np.empty((0, 3), np.int32), *(each.segments for each in alignments)]
        )
        segments[:, :2] += np.repeat(
            tokens_before, [len(each.segments) for each in alignments]
        ).reshape(-1, 1)
        unseen = np.concatenate([_no_tokens(), *(each.unseen for each in alignments)])
        unseen += np.repeat(tokens_before, [len(each.unseen) for each in alignments])
        return cls(links, segments, int(n_tokens.sum()), unseen)

    def shares(self) -> "Shares":
        """How each wordpiece's row is divided among tokens.

        A wordpiece linked with k tokens gives 1/k of its row to each. One linked with none gives
        an equal part to every token of its segment. No part of a row is lost or counted twice,
        so the sum over tokens equals the sum over wordpieces.
        """
        tokens_of_piece = np.bincount(self.links[:, 1], minlength=self.n_pieces)
        segment_of_piece = np.repeat(np.arange(len(self.segments)), self.segments[:, 2])
        common_pieces = np.flatnonzero(tokens_of_piece == 0)
        width = self.segments[:, 1] - self.segments[:, 0]
        tokens = np.repeat(self.segments[:, 0], width) + offsets_within(width)
        if len(self.unseen):
            seen = ~np.isin(tokens, self.unseen)
            segment_of_token = np.repeat(np.arange(len(width)), width)
            width = np.bincount(segment_of_token[seen], minlength=len(width))
            tokens = tokens[seen]
        return Shares(
            pieces=self.links[:, 1],
            tokens=self.links[:, 0],
            weights=(1 / tokens_of_piece[self.links[:, 1]]).astype(np.float32),
            pieces_per_token=np.bincount(self.links[:, 0], minlength=self.n_tokens).astype("i"),
            common_pieces=common_pieces,
            common_per_segment=np.bincount(
                segment_of_piece[common_pieces], minlength=len(self.segments)
            ).astype("i"),
            common_weights=(1 / np.maximum(width, 1)).astype(np.float32),
            seen_tokens=tokens,
            seen_per_segment=width.astype("i"),
        )


@dataclass(frozen=True, slots=True)
class Shares:
    """Indices and weights of the sum that turns wordpiece rows into token rows.

    Attributes:
        pieces, tokens, weights: The links, by token, each with the part of the wordpiece's row
            that the token gets. *Shape:* (links,)
        pieces_per_token: *Shape:* (tokens,)
        common_pieces: Wordpieces that all tokens of their segment share.
        common_per_segment: How many of these each segment has. *Shape:* (segments,)
        common_weights: One over the number of tokens seen in the segment. *Shape:* (segments,)
        seen_tokens: Tokens that were not truncated, by segment. One that is in several segments
            comes once for each.
        seen_per_segment: *Shape:* (segments,)
    """

    pieces: Ints
    tokens: Ints
    weights: NDArray[np.float32]
    pieces_per_token: Ints
    common_pieces: NDArray[np.intp]
    common_per_segment: Ints
    common_weights: NDArray[np.float32]
    seen_tokens: NDArray[np.integer]
    seen_per_segment: Ints
