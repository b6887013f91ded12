"""Divides Docs into segments, each of which the encoder sees as one row.

A segment is a sentence, a run of sentences, a whole Doc or a pair of texts, or a window of any of
these that is longer than the encoder takes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH, SENT_START
from spacy.tokens import Doc

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.alignment import link_spans
from trfcli_pipeline.tokenization.encodings import Encoding, Pieces, Text

Indices = NDArray[np.int64]

Segments = Literal["sentences", "doc", "windows"]
LongSentences = Literal["truncate", "window"]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How Docs are divided into segments.

    Attributes:
        segments: What a segment is: each of the "sentences", the whole "doc", or "windows" of as
            many consecutive sentences as the encoder takes at once.
        long_sentences: What becomes of a segment that is longer than the encoder takes:
            "truncate" leaves out what is too much, "window" makes consecutive segments of it,
            divided between tokens unless a single one is too long.
        max_length: The most wordpieces of a segment, special tokens included, if that is to be
            less than the encoder takes.
        separator: What stands between the two texts of a pair; "" for no pairs. A Doc that
            contains it is one segment, whatever `segments` says. Whitespace around it belongs to
            neither text. Only its first occurrence counts.

    Raises:
        PipelineError: A setting has a value that it can't have.
    """

    segments: Segments = "sentences"
    long_sentences: LongSentences = "truncate"
    max_length: int | None = None
    separator: str = ""

    def __post_init__(self) -> None:
        _check("segments", self.segments, get_args(Segments))
        _check("long_sentences", self.long_sentences, get_args(LongSentences))
        length = self.max_length
        if length is not None and (isinstance(length, bool) or not isinstance(length, int)):
            raise PipelineError(
                f"max_length: {length!r} is no number of wordpieces",
                hint="Use a whole number, or null for as many as the encoder takes",
            )
        if not isinstance(self.separator, str):
            raise PipelineError(
                f"separator: {self.separator!r} is no text", hint='Use "" for no pairs'
            )


def _check(setting: str, value: object, values: Sequence[str]) -> None:
    if value not in values:
        raise PipelineError(
            f"{setting}: can't be {value!r}", hint=f"Use one of: {', '.join(values)}"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the segments and tokens of a Doc are.

    Attributes:
        text: The Doc's text.
        token_spans: Start and end character of each token. *Shape:* (tokens, 2)
        firsts: First token of each segment. *Shape:* (segments,)
        separator: Start and end character of what is between the texts of a pair.
    """

    text: str
    token_spans: Indices
    firsts: Indices
    separator: tuple[int, int] | None = None

    @property
    def ends(self) -> Indices:
        """The token behind the last of each segment. *Shape:* (segments,)"""
        return np.append(self.firsts[1:], len(self.token_spans))[: len(self.firsts)]

    @property
    def starts(self) -> Indices:
        """First character of each segment. *Shape:* (segments,)"""
        return self.token_spans[self.firsts, 0]

    def texts(self) -> list[Text]:
        if self.separator is not None:
            start, end = self.separator
            # As for transformers: without a second text there is no pair.
            return [(self.text[:start], self.text[end:]) if self.text[end:] else self.text[:start]]
        stops = self.token_spans[self.ends - 1, 1]
        return [
            self.text[start:stop]
            for start, stop in zip(self.starts.tolist(), stops.tolist(), strict=True)
        ]


def lay_out(doc: Doc, settings: Segmentation) -> Layout:
    """Find a Doc's segments: sentences, unless the settings say that it is one segment."""
    text = doc.text
    attrs = doc.to_array([IDX, LENGTH, SENT_START]).astype(np.int64).reshape(-1, 3)
    spans = np.stack([attrs[:, 0], attrs[:, 0] + attrs[:, 1]], axis=1)
    separator = _find_separator(text, settings.separator)
    starts_segment = attrs[:, 2] == 1
    if settings.segments == "doc" or separator is not None:
        starts_segment[:] = False
    starts_segment[:1] = True
    return Layout(text, spans, np.flatnonzero(starts_segment), separator)


def _find_separator(text: str, separator: str) -> tuple[int, int] | None:
    if not separator or separator not in text:
        return None
    ahead, _, behind = text.partition(separator)
    return len(ahead.rstrip()), len(text) - len(behind.lstrip())


def pack(
    layouts: Sequence[Layout],
    encodings: Sequence[Sequence[Encoding]],
    encode: Callable[[Sequence[Layout]], list[list[Encoding]]],
    room: int | None,
) -> tuple[list[Layout], list[list[Encoding]]]:
    """Join consecutive segments of each Doc for as long as their wordpieces fit into one.

    Args:
        encodings: The wordpieces of each Doc's segments.
        encode: Finds these.
        room: How many fit, special tokens left out; None for no limit.
    """
    packed, results = list(layouts), [list(each) for each in encodings]
    chosen = [_choose(each, room) for each in encodings]
    pending = [i for i, which in enumerate(chosen) if len(which) < len(layouts[i].firsts)]
    while pending:
        for i in pending:
            packed[i] = replace(layouts[i], firsts=layouts[i].firsts[chosen[i]])
        encoded = encode([packed[i] for i in pending])
        for i, own in zip(pending, encoded, strict=True):
            results[i] = own
            chosen[i] = _divide(chosen[i], own, len(layouts[i].firsts))
        # Joined texts may have more wordpieces than their parts had.
        pending = [i for i in pending if len(chosen[i]) > len(packed[i].firsts)]
    return packed, results


def _choose(encodings: Sequence[Encoding], room: int | None) -> list[int]:
    """The segments that start a new window."""
    chosen: list[int] = []
    left = 0
    for index, encoding in enumerate(encodings):
        size = sum(sequence is not None for sequence in encoding.sequence_ids)
        if not chosen or (room is not None and size > left):
            chosen.append(index)
            left = room or 0
        left -= size
    return chosen


def _divide(chosen: Sequence[int], encodings: Sequence[Encoding], n_segments: int) -> list[int]:
    """Halve each window that turned out too long, down to single segments."""
    divided: list[int] = []
    for start, end, encoding in zip(chosen, [*chosen[1:], n_segments], encodings, strict=True):
        divided.append(start)
        if end - start > 1 and encoding.overflowing:
            divided.append((start + end) // 2)
    return divided


@dataclass(frozen=True, slots=True)
class Rows:
    """The segments of a Doc as the encoder gets to see them.

    Attributes:
        encodings: The wordpieces of each segment.
        firsts, ends: The tokens that each segment sees; a token that was divided between
            segments is seen by each of them. *Shape of each:* (segments,)
        starts: The character of the Doc that the offsets count from. *Shape:* (segments,)
        unseen: Tokens between first and end that were cut off all the same, if any.
    """

    encodings: Sequence[Encoding]
    firsts: Indices
    ends: Indices
    starts: Indices
    unseen: Indices | None = None


def fit(
    layout: Layout, encodings: Sequence[Encoding], limit: int | None, long_sentences: LongSentences
) -> Rows:
    """Work out which tokens each segment sees, and make windows of the long ones if asked for.

    Args:
        encodings: The wordpieces of the segments, at most `limit` of each.
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
        # The first token counts as seen in any case: the special tokens have to go somewhere.
        ends[i] = max(first + _count_before(layout, first, ends[i], cut), first + 1)
    return Rows(encodings, layout.firsts, ends, starts)


def _count_before(layout: Layout, first: int, end: int, cut: int) -> int:
    """How many of some tokens start ahead of a character."""
    return int(np.searchsorted(layout.token_spans[first:end, 0], cut))


def _fit_pair(layout: Layout, encoding: Encoding, separator: tuple[int, int]) -> Rows:
    """The only segment of a pair; its offsets are made to count from the Doc's start."""
    shifts = {None: 0, 0: 0, 1: separator[1]}
    offsets = [
        (start + shifts[sequence], end + shifts[sequence])
        for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids, strict=True)
    ]
    end, unseen = len(layout.token_spans), None
    if encoding.overflowing:
        # Where each of the two texts was cut.
        cuts = dict(enumerate((0, separator[1])))
        for (_, stop), sequence in zip(offsets, encoding.sequence_ids, strict=True):
            if sequence is not None:
                cuts[sequence] = max(cuts[sequence], stop)
        starts, stops = layout.token_spans.T
        end = max(_count_before(layout, 0, end, cuts[1]), 1)
        # The first token that is left counts as seen in any case, as above.
        unseen = np.flatnonzero((starts >= cuts[0]) & (stops <= separator[0]))
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
    """Divide the wordpieces of a segment into windows, each with all of the special tokens.

    Returns:
        Of each window its wordpieces, its first token and the one behind its last.
    """
    own = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence is not None]
    ahead = Pieces.select(encoding, range(own[0]))
    behind = Pieces.select(encoding, range(own[-1] + 1, len(encoding)))
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
    # The last token of the pieces up to each one, and the first of those from it on.
    so_far = np.maximum.accumulate(last)
    onwards = np.minimum.accumulate(first[::-1])[::-1]
    between_tokens = np.flatnonzero(so_far[:-1] < onwards[1:]) + 1
    stops: list[int] = []
    stop = 0
    while stop < n_pieces:
        start, stop = stop, stop + limit - len(ahead) - len(behind)
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
        # At least one token: the special tokens have to go somewhere.
        end = max(following, int(so_far[stop - 1]) + 1, token + 1)
        yield Pieces.join([ahead, window, behind]), token, end
