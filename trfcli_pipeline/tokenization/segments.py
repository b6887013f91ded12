"""Segments: the parts of a Doc that the encoder sees as one input each.

A segment is a sentence, a run of sentences, a whole Doc or a pair of texts. `packing.py` joins
short segments, `fitting.py` truncates or divides those that are too long for the encoder.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH, SENT_START
from spacy.tokens import Doc

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.encodings import Text

Indices = NDArray[np.int64]

_ATTRIBUTES = [IDX, LENGTH, SENT_START]
_NO_TOKENS = np.empty((0, len(_ATTRIBUTES)), np.uint64)

Segments = Literal["sentences", "doc", "windows"]
LongSentences = Literal["truncate", "window"]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """How Docs are divided into segments.

    Attributes:
        segments: What a segment is: each of the "sentences", the whole "doc", or "windows" of as
            many consecutive sentences as fit.
        long_sentences: What to do with a segment that is too long: "truncate" it, or "window" it
            into consecutive segments, divided between tokens unless a single token is too long.
        max_length: Maximum number of wordpieces in a segment, special tokens included; None for
            the encoder's own maximum.
        separator: Text that separates the two texts of a pair; "" for no pairs. Only its first
            occurrence counts, and surrounding whitespace belongs to neither text. A Doc that
            contains it is a single segment, whatever `segments` says.

    Raises:
        PipelineError: `segments` or `long_sentences` has an unknown value.
    """

    segments: Segments = "sentences"
    long_sentences: LongSentences = "truncate"
    max_length: int | None = None
    separator: str = ""

    def __post_init__(self) -> None:
        _check("segments", self.segments, get_args(Segments))
        _check("long_sentences", self.long_sentences, get_args(LongSentences))


def _check(setting: str, value: object, values: Sequence[str]) -> None:
    if value not in values:
        raise PipelineError(
            f"{setting}: invalid value {value!r}", hint=f"Use one of: {', '.join(values)}"
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the segments and tokens of a Doc are.

    Attributes:
        text: The Doc's text.
        token_spans: Start and end character of each token. *Shape:* (tokens, 2)
        firsts: First token of each segment. *Shape:* (segments,)
        separator: Start and end character of what separates the texts of a pair.
        checksum: A number that differs between layouts of different tokens or segments, before
            segments are packed.
    """

    text: str
    token_spans: Indices
    firsts: Indices
    separator: tuple[int, int] | None = None
    checksum: int = 0

    @property
    def ends(self) -> Indices:
        """End token (exclusive) of each segment. *Shape:* (segments,)"""
        if not len(self.firsts):
            return self.firsts
        return np.array([*self.firsts[1:].tolist(), len(self.token_spans)])

    @property
    def starts(self) -> Indices:
        """First character of each segment. *Shape:* (segments,)"""
        return self.token_spans[self.firsts, 0]

    def texts(self) -> list[Text]:
        """Return the text of each segment."""
        if self.separator is not None:
            start, end = self.separator
            # Like transformers, we don't treat a text with an empty second text as a pair.
            return [(self.text[:start], self.text[end:]) if self.text[end:] else self.text[:start]]
        if len(self.firsts) == 1:
            return [self.text[self.token_spans[0, 0] : self.token_spans[-1, 1]]]
        stops = self.token_spans[self.ends - 1, 1]
        return [
            self.text[start:stop]
            for start, stop in zip(self.starts.tolist(), stops.tolist(), strict=True)
        ]


def lay_out(docs: Sequence[Doc], settings: Segmentation) -> list[Layout]:
    """Find the segments of each Doc: a single one, or its sentences, which may be packed later."""
    texts = [doc.text for doc in docs]
    # For short texts, one operation on all tokens takes a fraction of the time of one per Doc.
    attrs = np.concatenate([_NO_TOKENS, *(doc.to_array(_ATTRIBUTES) for doc in docs)])
    spans = attrs[:, :2].astype(np.int64)
    spans[:, 1] += spans[:, 0]
    ends = list(accumulate(map(len, docs)))
    separators = [_find_separator(text, settings.separator) for text in texts]
    starts_segment = attrs[:, 2] == 1
    if settings.segments == "doc":
        starts_segment[:] = False
    layouts, start = [], 0
    for text, end, separator in zip(texts, ends, separators, strict=True):
        own, starts = spans[start:end], starts_segment[start:end]
        if separator is not None:
            starts[:] = False
        starts[:1] = True
        firsts = starts.nonzero()[0]
        checksum = zlib.crc32(firsts.tobytes(), zlib.crc32(own.tobytes()))
        layouts.append(Layout(text, own, firsts, separator, checksum))
        start = end
    return layouts


def _find_separator(text: str, separator: str) -> tuple[int, int] | None:
    if not separator or separator not in text:
        return None
    before, _, after = text.partition(separator)
    return len(before.rstrip()), len(text) - len(after.lstrip())
