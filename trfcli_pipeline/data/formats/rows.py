"""What all readers share: their interface, and errors for bad rows."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

from trfcli_pipeline.data.dataset import DEFAULT_OPTIONS, ReadingOptions
from trfcli_pipeline.data.formats.remarks import Remarks
from trfcli_pipeline.data.records import Part
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.errors import DataError

LABEL_KEYS = ("cats", "label", "labels")

COPY_AGAIN = "Copy or download the file again"
QUOTE_FIELDS = (
    'Put fields with quotes or newlines in quotes, and double the quotes inside them ("")'
)
QUOTE_DELIMITERS = (
    "Put fields that have the delimiter in them in quotes, or name another delimiter: "
    '--delimiter ";"'
)
_SAVE_AS_UTF8 = "Save the file as UTF-8, or name its encoding: --encoding cp1252"
_LONGEST_QUOTE = 40
# Bytes, uncompressed. A longer line isn't a record. A larger file would take several times its size
# in memory.
LONGEST_LINE = 64 * 2**20
LARGEST_WHOLE = 2**30


class BadRowError(Exception):
    """A bad row: what is wrong, and what to do about it.

    Attributes:
        lacks: What it lacks, if nothing else is wrong with it.
    """

    def __init__(
        self, reason: str, *, advice: str | None = None, lacks: Part | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.lacks = lacks


Rows = Iterator[tuple[int, Any]]


@dataclass(slots=True)
class RawFile:
    """A file that is being read.

    Attributes:
        name: Its name for messages.
        stream: Its content, uncompressed, and as UTF-8 if the format is a text.
        sample: The first MiB of the content.
        labeled: Whether its labels are read.
        options: What the user says about its layout.
        remarks: What was guessed about it, and what is odd in it.
        suffix: Suffix of its name, such as ".csv".
        part: What of it to read, if it has several parts: a split, a sheet.
        place: What a place in it is called: "line", "row", "doc" or "record". A reader may change
            it before the first row.
        columns: The columns of a table, in order; None if rows have keys of their own. A reader
            sets it before the first row.
        label_names: Names of the classes of integer columns, if the file says them.
        directory: The directory that it is in; None if it isn't on disk itself.
        is_stdin: Whether it is stdin, of which more may come only after an answer.
    """

    name: str
    stream: IO[bytes]
    sample: bytes = b""
    labeled: bool = True
    options: ReadingOptions = DEFAULT_OPTIONS
    remarks: Remarks = field(default_factory=lambda: Remarks("file"))
    suffix: str = ""
    part: str | None = None
    place: str = "line"
    columns: list[str] | None = None
    label_names: dict[str, list[str]] = field(default_factory=dict)
    directory: Path | None = None
    is_stdin: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A file format to read.

    Attributes:
        read: Yields `(place, row or BadRowError)` for each row of a file.
        place: What a place is called: "line", "row" or "doc".
        is_text: Whether its files are text, in some encoding.
        has_parts: Whether a file may have several parts, of which one is read.
        is_table: Whether its files may be tables, with delimiters and quotes.
    """

    read: Callable[[RawFile], Rows]
    place: str = "line"
    is_text: bool = True
    has_parts: bool = False
    is_table: bool = False


def quoted(name: str) -> str:
    """Quote a name for a message: printable, on one line, and not too long."""
    return json.dumps(without_surrogates(shortened(name)), ensure_ascii=False)


def shortened(text: str) -> str:
    """Cut a text off, if it is too long for a message."""
    return text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"


def bounded_lines(stream: IO[bytes], name: str, *, longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Yield the lines of a file with their \\n, which is the only character that ends one.

    Args:
        stream: The file.
        name: Its name for messages.
        longest: Maximum number of bytes in a line.

    Raises:
        DataError: A line is longer. A few kilobytes of a compressed file may become a line that
            doesn't fit in memory.
    """
    for number in count(1):
        line = stream.readline(longest + 1)
        if len(line) > longest:
            raise DataError(
                f"{name}, line {number}: longer than {longest // 2**20:,} MiB",
                hint="Put each record on a line of its own, and split longer texts",
            )
        if not line:
            return
        yield line


def read_whole(stream: IO[bytes], name: str, start: bytes = b"") -> bytes:
    """Read a file of a format that can't be read as a stream.

    Args:
        stream: The file.
        name: Its name for messages.
        start: What has been read of it already.

    Raises:
        DataError: It is larger than 1 GiB.
    """
    data = start + stream.read(max(0, LARGEST_WHOLE + 1 - len(start)))
    check_whole(len(data), name)
    return data


def check_whole(size: int, name: str) -> None:
    """Check that a file that has to be read as a whole isn't too large for that.

    Args:
        size: Its number of bytes, uncompressed.
        name: Its name for messages.

    Raises:
        DataError: It is larger than 1 GiB.
    """
    if size > LARGEST_WHOLE:
        raise DataError(
            f"{name}: larger than {LARGEST_WHOLE // 2**20:,} MiB, uncompressed",
            hint="Use a .jsonl file, which is read line by line",
        )


def lines(raw_lines: Iterable[bytes]) -> Iterator[tuple[int, str | BadRowError]]:
    """Decode lines, and number them from 1."""
    for number, raw in enumerate(raw_lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            yield number, bad_utf8(raw[error.start], f" at byte {error.start + 1}")
        else:
            yield number, line.removesuffix("\n").removesuffix("\r")


def bad_utf8(byte: int, where: str = "") -> BadRowError:
    return BadRowError(f"not valid UTF-8 (0x{byte:02x}{where})", advice=_SAVE_AS_UTF8)
