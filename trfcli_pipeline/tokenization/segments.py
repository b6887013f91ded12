"""Segments: the parts of a Doc that the encoder sees as one input each.

A segment is a sentence, a run of sentences, a whole Doc or a pair of texts. `packing.py` joins
short segments, `fitting.py` truncates or divides those that are too long for the encoder.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from spacy.attrs import IDX, LENGTH, SENT_START
from spacy.tokens import Doc

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.encodings import Text

Indices = NDArray[np.int64]

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
        ends = np.empty_like(self.firsts)
        ends[:-1] = self.firsts[1:]
        ends[-1:] = len(self.token_spans)
        return ends

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
        stops = self.token_spans[self.ends - 1, 1]
        return [
            self.text[start:stop]
            for start, stop in zip(self.starts.tolist(), stops.tolist(), strict=True)
        ]


def lay_out(doc: Doc, settings: Segmentation) -> Layout:
    """Find the segments of a Doc: a single one, or its sentences, which may be packed later."""
    text = doc.text
    attrs = doc.to_array([IDX, LENGTH, SENT_START]).view(np.int64).reshape(-1, 3)
    attrs[:, 1] += attrs[:, 0]
    spans = attrs[:, :2]
    separator = _find_separator(text, settings.separator)
    starts_segment = attrs[:, 2] == 1
    if settings.segments == "doc" or separator is not None:
        starts_segment[:] = False
    starts_segment[:1] = True
    firsts = np.flatnonzero(starts_segment)
    checksum = zlib.crc32(firsts.tobytes(), zlib.crc32(spans.tobytes()))
    return Layout(text, spans, firsts, separator, checksum)


def _find_separator(text: str, separator: str) -> tuple[int, int] | None:
    if not separator or separator not in text:
        return None
    before, _, after = text.partition(separator)
    return len(before.rstrip()), len(text) - len(after.lstrip())
