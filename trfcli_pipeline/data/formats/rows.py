"""What all formats share: the interfaces of readers and writers, and errors for bad rows."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from trfcli_pipeline.data.surrogates import without_surrogates

LABEL_KEYS = ("cats", "label", "labels")

_SAVE_AS_UTF8 = "Save the file as UTF-8"
_LONGEST_QUOTE = 40


class BadRowError(Exception):
    """A bad row: what is wrong, and what to do about it."""

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


Rows = Iterator[tuple[int, Any]]


class Writer(Protocol):
    """Converts rows to the bytes of an output file, batch by batch.

    Attributes:
        streams: Whether `add` returns the bytes of each batch. If not, `end` returns all of them.
        takes_docs: Whether a batch is a serialized DocBin rather than a list of rows.
        state: What another writer needs to continue the file.
        left_out: Keys of rows that the file has no column for.
    """

    streams: bool
    takes_docs: bool
    state: dict[str, Any]
    left_out: set[str]

    def add(self, batch: Any) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A file format to read.

    Attributes:
        read: Takes the open file and its name for messages, and yields
            `(place, row or BadRowError)`.
        place: What a place is called: "line", "row" or "doc".
        has_labels: Whether records can have labels.
    """

    read: Callable[[IO[bytes], str], Rows]
    place: str = "line"
    has_labels: bool = True


def quoted(name: str) -> str:
    """Quote a name for a message: printable, on one line, and not too long."""
    short = name if len(name) <= _LONGEST_QUOTE else name[: _LONGEST_QUOTE - 1] + "…"
    return json.dumps(without_surrogates(short), ensure_ascii=False)


def lines(stream: Iterable[bytes]) -> Iterator[tuple[int, str | BadRowError]]:
    # Binary files are split at \n only. Text files would be split at \r, too.
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, bad_utf8(raw[error.start], f" at byte {error.start + 1}")
        else:
            yield number, line.removesuffix("\n").removesuffix("\r")


def bad_utf8(byte: int, where: str = "") -> BadRowError:
    return BadRowError(f"not valid UTF-8 (0x{byte:02x}{where})", advice=_SAVE_AS_UTF8)
