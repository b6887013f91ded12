"""Data file formats: readers from bytes to raw rows, and writers.

A reader yields `(place, row)`. The place counts from 1: the line that the record starts on, or the
row if the file has no lines. The row is a JSON value (an object, a pair ...) that isn't validated
yet. A row that can't be parsed is a `BadRowError`, so that reading can go on.

Formats are read as streams, with two exceptions: a .json file with one list is loaded as text, and
a .spacy file as arrays. Memory is bounded: a line has at most 64 MiB, and a file that is loaded as
a whole has at most 1 GiB, both uncompressed.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from trfcli_pipeline.data.files import kind_of_file
from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.formats.docbin import DOCBIN, DocBinWriter
from trfcli_pipeline.data.formats.json import JSON, JSONL
from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.formats.parquet_writer import ParquetWriter
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, Format, Rows
from trfcli_pipeline.data.formats.tables import CSV, PARQUET, TSV
from trfcli_pipeline.data.formats.txt import TXT
from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.formats.xlsx_writer import XlsxWriter
from trfcli_pipeline.errors import DataError

STDIN = "-"
FORMATS = {
    ".jsonl": JSONL,
    ".json": JSON,
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".spacy": DOCBIN,
    ".txt": TXT,
}
WRITERS: dict[str, Callable[[], Writer]] = {
    ".jsonl": JsonlWriter,
    ".csv": partial(CsvWriter, ","),
    ".tsv": partial(CsvWriter, "\t"),
    ".parquet": ParquetWriter,
    ".xlsx": XlsxWriter,
    ".spacy": DocBinWriter,
}

_Known = TypeVar("_Known")


def open_rows(path: Path | str, *, labeled: bool) -> tuple[str, Format, Rows]:
    """Open a data file, and choose its format by suffix.

    Returns:
        The name of the file for messages, its format, and its rows, which are read lazily.

    Raises:
        DataError: There is no such file, its suffix is unknown, or the format has no labels though
            they are needed. While reading: the file is damaged.
    """
    if str(path) == STDIN:
        return "stdin", FORMATS[".jsonl"], _read(None, FORMATS[".jsonl"], "stdin")
    path, name = Path(path), str(path)
    try:
        kind = kind_of_file(path)
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file", hint=_similar_file(path)) from error
    except OSError as error:
        raise _unreadable(name, error) from error
    if kind == "a directory":
        raise DataError(f"{name}: a directory, not a file", hint="Give the path of a file in it")
    if kind is not None:
        # Reading a named pipe waits for a writer, and a second time for ever.
        raise DataError(
            f"{name}: {kind}, not a file", hint="Use - to read from stdin, as in: trf ... - < FILE"
        )
    suffix, format = _by_suffix(path, FORMATS, "stdin")
    if labeled and not format.has_labels:
        usable = ", ".join(known for known, format in FORMATS.items() if format.has_labels)
        problem = f"a {suffix} file has no labels, but labels are needed"
        raise DataError(f"{name}: {problem}", hint=f"Use one of {usable}")
    return name, format, _read(path, format, name)


def open_writer(path: Path | str) -> Writer:
    """Choose a writer by suffix; "-" is JSONL on stdout.

    Raises:
        DataError: The suffix is unknown, or the format can only be read.
        OutputError: A package for the format isn't installed.
    """
    if str(path) == STDIN:
        return JsonlWriter()
    _, writer = _by_suffix(Path(path), WRITERS, "stdout")
    return writer()


def place_name(path: Path | str) -> str:
    """What a place is called in the format of a file: "line", "row" or "doc"."""
    if str(path) == STDIN:
        return JSONL.place
    return _by_suffix(Path(path), FORMATS, "stdin")[1].place


def _read(path: Path | None, format: Format, name: str) -> Rows:
    try:
        with _open(path) as stream:
            yield from format.read(stream, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        problem = f"{name}: not a gzip file, or damaged ({error})"
        raise DataError(problem, hint=COPY_AGAIN) from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read ({error.strerror or error})")


def _open(path: Path | None) -> Any:
    if path is None:
        if sys.stdin is None:
            raise DataError("stdin: closed", hint="Give it a file: trf ... - < FILE")
        return nullcontext(sys.stdin.buffer)
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _by_suffix(path: Path, known: Mapping[str, _Known], stream: str) -> tuple[str, _Known]:
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = inner.suffix.lower()
    if suffix not in known:
        problem = f'unknown suffix "{suffix}"' if suffix else "no suffix, so the format is unknown"
        hint = f"Use {', '.join(known)}, optionally with .gz, or - for JSONL on {stream}"
        raise DataError(f"{path}: {problem}", hint=hint)
    return suffix, known[suffix]


def _similar_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"There is no directory {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None
