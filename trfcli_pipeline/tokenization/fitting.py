"""Fits segments to the encoder's maximum length: truncates them, or divides them into windows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from trfcli_pipeline.tokenization.alignment import link_spans
from trfcli_pipeline.tokenization.encodings import Encoding, Pieces
from trfcli_pipeline.tokenization.segments import Indices, Layout, LongSentences


class Rows(NamedTuple):
    """The segments of a Doc as the encoder sees them.

    Attributes:
        encodings: The wordpieces of each segment.
        firsts: The first token that each segment contains. A token that is divided between
            segments belongs to each of them. *Shape:* (segments,)
        ends: The end token (exclusive) of each segment. *Shape:* (segments,)
        starts: The character of the Doc that offsets are relative to. *Shape:* (segments,)
        unseen: Tokens between first and end that were truncated nevertheless, if any.
    """

    encodings: Sequence[Encoding]
    firsts: Indices
    ends: Indices
    starts: Indices
    unseen: Indices | None = None


def fit(
    layout: Layout, encodings: Sequence[Encoding], limit: int | None, long_sentences: LongSentences
) -> Rows:
    """Find the tokens that each segment contains, and divide long segments if asked for.

    Args:
        layout: The segments of a Doc.
        encodings: Their wordpieces, at most `limit` of each.
        limit: Maximum number of wordpieces, special tokens included.
        long_sentences: See `segments.Segmentation`.
    """
    if layout.separator is not None:
        return _fit_pair(layout, encodings[0], layout.separator)
    long = {i for i, each in enumerate(encodings) if len(each) == limit and each.overflowing}
    if limit is None or not long:
        return Rows(encodings, layout.firsts, layout.ends, layout.starts)
    if long_sentences == "window":
        return _fit_windows(layout, encodings, limit, long)
    ends, starts = layout.ends, layout.starts
    for i in long:
        first = layout.firsts[i]
        cut = starts[i] + max(end for _, end in encodings[i].offsets)
        # At least one token, because the rows of the special tokens have to go to some token.
        ends[i] = max(first + _count_before(layout, first, ends[i], cut), first + 1)
    return Rows(encodings, layout.firsts, ends, starts)


def _count_before(layout: Layout, first: int, end: int, cut: int) -> int:
    """Count those tokens from first to end that start before a character."""
    return int(np.searchsorted(layout.token_spans[first:end, 0], cut))


def _fit_pair(layout: Layout, encoding: Encoding, separator: tuple[int, int]) -> Rows:
    """Fit the single segment of a pair, and make its offsets relative to the Doc."""
    shifts = {None: 0, 0: 0, 1: separator[1]}
    offsets = [
        (start + shifts[sequence], end + shifts[sequence])
        for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
    ]
    end, unseen = len(layout.token_spans), None
    if encoding.overflowing:
        # The character where each of the two texts was truncated.
        cuts = dict(enumerate((0, separator[1])))
        for (_, stop), sequence in zip(offsets, encoding.sequence_ids, strict=True):
            if sequence is not None:
                cuts[sequence] = max(cuts[sequence], stop)
        starts, stops = layout.token_spans.T
        end = max(_count_before(layout, 0, end, cuts[1]), 1)
        unseen = np.flatnonzero((starts >= cuts[0]) & (stops <= separator[0]))
        # As in `fit`, at least one token must be seen.
        unseen = unseen[int(len(unseen) == end) :]
    pieces = replace(Pieces.join([encoding]), offsets=offsets)
    return Rows([pieces], layout.firsts, np.array([end]), np.array([0]), unseen)


def _fit_windows(layout: Layout, encodings: Sequence[Encoding], limit: int, long: set[int]) -> Rows:
    rows: list[tuple[Encoding, int, int, int]] = []
    ends, starts = layout.ends.tolist(), layout.starts.tolist()
    for i, (encoding, first) in enumerate(zip(encodings, layout.firsts.tolist(), strict=True)):
        if i in long:
            spans = layout.token_spans[first : ends[i]] - starts[i]
            rows += [
                (window, first + start, first + end, starts[i])
                for window, start, end in _windows(encoding, spans, limit)
            ]
        else:
            rows.append((encoding, first, ends[i], starts[i]))
    windows, *columns = zip(*rows, strict=True)
    return Rows(list(windows), *(np.array(column, np.int64) for column in columns))


def _windows(
    encoding: Encoding, token_spans: Indices, limit: int
) -> Iterator[tuple[Pieces, int, int]]:
    """Divide the wordpieces of a segment into windows, each with all special tokens.

    Yields:
        The wordpieces of a window, its first token and its end token (exclusive).
    """
    own = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
    prefix = Pieces.select(encoding, range(own[0]))
    suffix = Pieces.select(encoding, range(own[-1] + 1, len(encoding)))
    whole = Pieces.join([encoding, *encoding.overflowing])
    pieces = Pieces.select(
        whole, [i for i, sequence in enumerate(whole.sequence_ids) if sequence is not None]
    )
    n_tokens, n_pieces = len(token_spans), len(pieces)
    links = link_spans(token_spans, np.array(pieces.offsets, dtype=np.int64))
    last = np.full(n_pieces, -1)
    last[links[:, 1]] = links[:, 0]
    first = np.full(n_pieces, n_tokens)
    first[links[::-1, 1]] = links[::-1, 0]
    # The last token of the pieces up to each piece, and the first token of the pieces from it on.
    so_far = np.maximum.accumulate(last)
    onwards = np.minimum.accumulate(first[::-1])[::-1]
    between_tokens = np.flatnonzero(so_far[:-1] < onwards[1:]) + 1
    stops: list[int] = []
    stop = 0
    while stop < n_pieces:
        start, stop = stop, stop + limit - len(prefix) - len(suffix)
        if stop < n_pieces:
            fitting = between_tokens[: np.searchsorted(between_tokens, stop, side="right")]
            stop = int(fitting[-1]) if fitting.size and fitting[-1] > start else stop
        stops.append(min(stop, n_pieces))
    starts = [0, *stops[:-1]]
    firsts = [0, *(min(int(onwards[start]), n_tokens - 1) for start in starts[1:])]
    for start, stop, token, following in zip(
        starts, stops, firsts, [*firsts[1:], n_tokens], strict=True
    ):
        window = Pieces.select(pieces, range(start, stop))
        # As in `fit`, at least one token.
        end = max(following, int(so_far[stop - 1]) + 1, token + 1)
        yield Pieces.join([prefix, window, suffix]), token, end
