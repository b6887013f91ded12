"""What all formats share: what a reader and a writer are, and how a bad row is described."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from trfcli_pipeline.data.surrogates import without_surrogates

LABEL_KEYS = ("cats", "label", "labels")

_SAVE_AS_UTF8 = "Save the file as UTF-8"
_LONGEST_QUOTE = 40


class BadRowError(Exception):
    """A row that can't be used: what is wrong with it, and what to do about it."""

    def __init__(self, reason: str, *, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


Rows = Iterator[tuple[int, Any]]


class Writer(Protocol):
    """Turns the rows of an output into the bytes of a file, batch by batch.

    Attributes:
        streams: Whether `add` returns what belongs in the file; if not, `end` returns all of it.
        takes_docs: Whether a batch is a DocBin, as bytes, rather than a list of rows.
        state: What another writer needs to go on where this one is.
        left_out: Keys of rows that the file has no place for.
    """

    streams: bool
    takes_docs: bool
    state: dict[str, Any]
    left_out: set[str]

    def add(self, batch: Any) -> bytes: ...

    def end(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of file is read.

    Attributes:
        read: From the open file and the name to use in errors, to `(place, row or BadRowError)`.
        place: What the place of a row is called, e.g. "line".
        has_labels: Whether a record of such a file can have labels.
    """

    read: Callable[[IO[bytes], str], Rows]
    place: str = "line"
    has_labels: bool = True


def quoted(name: str) -> str:
    """A name from a file as a message shows it: printable, on one line, and not too long."""
    short = name if len(name) <= _LONGEST_QUOTE else name[: _LONGEST_QUOTE - 1] + "…"
    return json.dumps(without_surrogates(short), ensure_ascii=False)


def lines(stream: Iterable[bytes]) -> Iterator[tuple[int, str | BadRowError]]:
    # Files opened as bytes are split at \n alone; as text, at \r too.
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, bad_utf8(raw[error.start], f" at byte {error.start + 1}")
        else:
            yield number, line.removesuffix("\n").removesuffix("\r")


def bad_utf8(byte: int, where: str = "") -> BadRowError:
    return BadRowError(f"not valid UTF-8 (0x{byte:02x}{where})", advice=_SAVE_AS_UTF8)
