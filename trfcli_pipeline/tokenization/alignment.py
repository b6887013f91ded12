"""The alignment of tokens and wordpieces, and how tokens share the wordpieces' rows.

A *segment* is what the encoder sees as one input, such as a sentence (see `segments.py`). This is
index arithmetic on whole batches; `heads/token_rows.py` sums the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


def link_spans(token_spans: NDArray[np.integer], piece_spans: NDArray[np.integer]) -> Ints:
    """Link each wordpiece with the tokens whose characters it overlaps.

    Args:
        token_spans: Start and end character of each token; ascending, not overlapping.
            *Shape:* (tokens, 2)
        piece_spans: Start and end character of each wordpiece in the same text. A wordpiece
            without characters, such as a special token, has no link. *Shape:* (wordpieces, 2)

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
    """Count up from 0 within each group: [2, 0, 3] returns [0, 1, 0, 1, 2]."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(np.sum(counts))) - np.repeat(starts, counts)


def indices_per_token(links: Ints, n_tokens: int) -> list[list[int]]:
    """Turn links into one list of wordpiece indices per token."""
    ends = np.cumsum(np.bincount(links[:, 0], minlength=n_tokens))
    pieces = links[:, 1].tolist()
    starts = [0, *ends[:-1].tolist()]
    return [pieces[start:end] for start, end in zip(starts, ends.tolist(), strict=False)]


def links_from_indices(indices: Sequence[Sequence[int]]) -> Ints:
    """Turn one list of wordpiece indices per token into links."""
    pairs = [(token, piece) for token, row in enumerate(indices) for piece in sorted(set(row))]
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


def _no_tokens() -> Ints:
    return np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of a Doc, or of a batch of Docs laid end to end.

    Attributes:
        links: Token index and wordpiece index of each link, sorted by token. *Shape:* (links, 2)
        segments: First token, end token (exclusive) and number of wordpieces of each segment.
            Tokens between the end of a segment and the next segment were truncated. A token that
            is too long for the encoder may be in several segments. *Shape:* (segments, 3)
        n_tokens: Number of tokens, truncated ones included.
        unseen: Tokens that were truncated within a segment, such as at the end of the first text
            of a pair; ascending. *Shape:* (unseen tokens,)
    """

    links: Ints
    segments: Ints
    n_tokens: int
    unseen: Ints = field(default_factory=_no_tokens)

    @property
    def n_pieces(self) -> int:
        """Number of wordpieces."""
        return int(self.segments[:, 2].sum())

    @classmethod
    def concatenate(cls, alignments: Sequence["Alignment"]) -> "Alignment":
        """Lay the alignments of several Docs end to end."""
        if len(alignments) == 1:
            return alignments[0]
        n_tokens = np.array([each.n_tokens for each in alignments], dtype=np.int32)
        n_segments = np.array([len(each.segments) for each in alignments], dtype=np.int64)
        tokens_before = np.cumsum(n_tokens) - n_tokens
        segments = np.concatenate(
            [np.empty((0, 3), np.int32), *(each.segments for each in alignments)]
        )
        pieces = np.concatenate([[0], np.cumsum(segments[:, 2])])
        pieces_before = pieces[np.cumsum(n_segments) - n_segments]
        before = np.stack([tokens_before, pieces_before], axis=1)
        links = np.concatenate([np.empty((0, 2), np.int32), *(each.links for each in alignments)])
        links += np.repeat(before, [len(each.links) for each in alignments], axis=0)
        segments[:, :2] += np.repeat(tokens_before, n_segments).reshape(-1, 1)
        unseen = np.concatenate([_no_tokens(), *(each.unseen for each in alignments)])
        unseen += np.repeat(tokens_before, [len(each.unseen) for each in alignments])
        return cls(links, segments, int(n_tokens.sum()), unseen)

    def shares(self) -> "Shares":
        """Compute how each wordpiece's row is divided among tokens.

        A wordpiece that is linked with k tokens gives 1/k of its row to each of them. A wordpiece
        without links gives an equal part to every token of its segment. No part is lost or counted
        twice, so the sum over tokens equals the sum over wordpieces.
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
    """Indices and weights for summing wordpiece rows to token rows.

    Attributes:
        pieces: The wordpiece of each link, sorted by token. *Shape:* (links,)
        tokens: The token of each link. *Shape:* (links,)
        weights: The part of the wordpiece's row that the token gets. *Shape:* (links,)
        pieces_per_token: Number of wordpieces linked with each token. *Shape:* (tokens,)
        common_pieces: Wordpieces that all tokens of their segment share.
            *Shape:* (common wordpieces,)
        common_per_segment: Number of common wordpieces in each segment. *Shape:* (segments,)
        common_weights: 1 / the number of tokens seen in each segment. *Shape:* (segments,)
        seen_tokens: Tokens that were not truncated, segment by segment; a token in several
            segments occurs once for each. *Shape:* (seen tokens,)
        seen_per_segment: Number of tokens seen in each segment. *Shape:* (segments,)
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
