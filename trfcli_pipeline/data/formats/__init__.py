"""The file formats of data: from the bytes of a file to its raw rows, each with its place.

A reader yields `(place, row)`. The place counts from 1: the line that the record starts on, or
the row of a file that has no lines. The row is what JSON would hold (an object, a pair ...), not
yet checked; a `BadRowError` stands in for a row that can't be parsed, so that reading goes on.

All formats are read as a stream, in little memory, but two: a .json file that is one list is held
as text, and a .spacy file as its arrays.
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

from trfcli_pipeline.data.formats.docbin import DOCBIN, DocBinWriter
from trfcli_pipeline.data.formats.json import JSON, JSONL, JsonlWriter
from trfcli_pipeline.data.formats.rows import Format, Rows, Writer
from trfcli_pipeline.data.formats.tables import CSV, PARQUET, TSV, TableWriter
from trfcli_pipeline.data.formats.txt import TXT
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
    ".csv": partial(TableWriter, ","),
    ".tsv": partial(TableWriter, "\t"),
    ".spacy": DocBinWriter,
}

_Known = TypeVar("_Known")


def open_rows(path: Path | str, *, labelled: bool) -> tuple[str, Format, Rows]:
    """Choose the format by suffix, and return the file's name for errors, its format and rows.

    The rows are read as they are asked for.

    Raises:
        DataError: There is no such file, its suffix is unknown or says that it has no labels
            although they are needed; or later, while reading, the file as a whole is damaged.
    """
    if str(path) == STDIN:
        return "stdin", FORMATS[".jsonl"], _read(None, FORMATS[".jsonl"], "stdin")
    path, name = Path(path), str(path)
    try:
        path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file", hint=_similar_file(path)) from error
    except OSError as error:
        raise _unreadable(name, error) from error
    if path.is_dir():
        raise DataError(f"{name}: a directory, not a file", hint="Name one file in it")
    suffix, format = _by_suffix(path, FORMATS, "stdin")
    if labelled and not format.has_labels:
        usable = ", ".join(known for known, format in FORMATS.items() if format.has_labels)
        problem = f"a {suffix} file has no labels, and they are needed"
        raise DataError(f"{name}: {problem}", hint=f"Use one of {usable}")
    return name, format, _read(path, format, name)


def open_writer(path: Path | str) -> Writer:
    """Choose by suffix how an output is written; "-" is JSONL on stdout.

    Raises:
        DataError: The suffix is unknown, or of a format that is only read.
    """
    if str(path) == STDIN:
        return JsonlWriter()
    _, writer = _by_suffix(Path(path), WRITERS, "stdout")
    return writer()


def place_name(path: Path | str) -> str:
    """What the place of a row is called in a file of a known suffix, e.g. "line"."""
    if str(path) == STDIN:
        return JSONL.place
    return _by_suffix(Path(path), FORMATS, "stdin")[1].place


def _read(path: Path | None, format: Format, name: str) -> Rows:
    try:
        with _open(path) as stream:
            yield from format.read(stream, name)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name}: not a gzip file, or a damaged one ({error})") from error
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read ({error.strerror or error})")


def _open(path: Path | None) -> Any:
    if path is None:
        return nullcontext(sys.stdin.buffer)
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _by_suffix(path: Path, known: Mapping[str, _Known], stream: str) -> tuple[str, _Known]:
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    suffix = inner.suffix.lower()
    if suffix not in known:
        problem = f'unknown suffix "{suffix}"' if suffix else "no suffix that tells its format"
        hint = f"Known: {', '.join(known)}, each also with .gz; - is JSONL on {stream}"
        raise DataError(f"{path}: {problem}", hint=hint)
    return suffix, known[suffix]


def _similar_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"There is no directory {path.parent} either"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None
