"""Data file formats: readers from bytes to raw rows, and writers.

A reader yields `(place, row)`. The place counts from 1: the line that the record starts on, or the
row if the file has no lines. The row is a JSON value (an object, a pair ...) that isn't validated
yet. A row that can't be parsed is a `BadRowError`, so that reading can go on.

Formats are read as streams, with a few exceptions: a JSON file with one list is loaded as text, and
a .spacy file as arrays. Memory is bounded: a line has at most 64 MiB, and a file that is loaded as
a whole has at most 1 GiB, both uncompressed.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

from trfcli_pipeline.data.column_names import names_both
from trfcli_pipeline.data.dataset import DEFAULT_OPTIONS, STDIN, ReadingOptions
from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.formats.dialects import guess_dialect
from trfcli_pipeline.data.formats.docbin import DOCBIN, DocBinWriter
from trfcli_pipeline.data.formats.fasttext import FASTTEXT, is_fasttext
from trfcli_pipeline.data.formats.json import JSON, JSONL
from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.formats.parquet import PARQUET
from trfcli_pipeline.data.formats.parquet_writer import ParquetWriter
from trfcli_pipeline.data.formats.rows import Format
from trfcli_pipeline.data.formats.spreadsheets import XLSX
from trfcli_pipeline.data.formats.streams import decoded
from trfcli_pipeline.data.formats.tables import CSV, TSV
from trfcli_pipeline.data.formats.txt import TXT
from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.formats.xlsx_writer import XlsxWriter
from trfcli_pipeline.errors import ArgumentError, DataError

FORMATS = {
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": JSON,
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".arrow": PARQUET,
    ".xlsx": XLSX,
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
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
# What the `datasets` library writes beside the data, and names of labels.
_DESCRIPTIONS = {
    "dataset_dict.json",
    "dataset_info.json",
    "dataset_infos.json",
    "state.json",
    "labels.json",
    "labels.txt",
}
_STARTS = ((b"PAR1", PARQUET), (b"ARROW1", PARQUET), (b"PK\x03\x04", XLSX))
_OBJECTS = {JSONL, JSON}
# A key of an object, or a list of objects, lists or strings.
_OBJECT = re.compile(r'\{\s*"[^"]*"\s*:|\[\s*(\{\s*"[^"]*"\s*:|\[\s*")')
_WEB_PAGE = ("a web page, not data", "Download the file itself")
# What files may be that have the suffix of data: how they start, what they are, what to do.
_FOREIGN = {
    b"version https://git-lfs": (
        "only a pointer of Git LFS, not the file",
        "Get the file itself: git lfs pull",
    ),
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "Save it in Excel as .xlsx or .csv"),
}


def open_writer(path: Path | str) -> Writer:
    """Choose a writer by suffix; "-" is JSONL on stdout.

    Raises:
        ArgumentError: The suffix is unknown, or the format can only be read.
        OutputError: A package for the format isn't installed.
    """
    if str(path) == STDIN:
        return JsonlWriter()
    suffix = suffix_of(Path(path))
    if suffix not in WRITERS:
        problem = f'unknown suffix "{suffix}"' if suffix else "no suffix, so the format is unknown"
        hint = f"Use {', '.join(WRITERS)}, optionally with .gz, or - for JSONL on stdout"
        raise ArgumentError(f"{path}: {problem}", hint=hint)
    return WRITERS[suffix]()


def suffix_of(path: PurePath) -> str:
    """The suffix that names the format, before one that says how the file is compressed."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower()


def is_data_name(path: PurePath) -> bool:
    """Whether a file of a data set has texts, by its name, rather than a description of them."""
    return suffix_of(path) in FORMATS and path.name not in _DESCRIPTIONS


def format_of(name: str, suffix: str, sample: bytes, options: ReadingOptions) -> Format:
    """Choose the format of a file by its content or, if that says nothing, by its suffix.

    Raises:
        DataError: Neither tells, or the content is of a kind that can't be read.
    """
    found = _by_content(name, suffix, sample)
    expected = FORMATS.get(suffix)
    if expected in _OBJECTS and found is None and _has_header(sample):
        return CSV
    if expected is not None and (found is None or {found, expected} <= _OBJECTS):
        return expected
    found = found or _table_of(sample, options)
    if found is not None:
        return found
    problem = f'unknown suffix "{suffix}"' if suffix else "no suffix, so the format is unknown"
    hint = f"Use {', '.join(FORMATS)}, optionally with .gz, or - for JSONL on stdin"
    raise DataError(f"{name}: {problem}", hint=hint)


def _by_content(name: str, suffix: str, sample: bytes) -> Format | None:
    """The format that the start of a file shows beyond doubt; None if it doesn't."""
    for start, format in _STARTS:
        if sample.startswith(start):
            return format
    for start, (problem, hint) in _FOREIGN.items():
        # A text file may have web pages as texts.
        if suffix != ".txt" and sample[:100].lstrip().lower().startswith(start):
            raise DataError(f"{name}: {problem}", hint=hint)
    text = decoded(sample).lstrip("\ufeff \t\r\n")
    if is_fasttext(text):
        return FASTTEXT
    first = text.partition("\n")[0].strip()
    if _OBJECT.match(first) or (first in ("{", "[") and _OBJECT.match("".join(text.split()))):
        return JSONL if text.startswith("{") else JSON
    return None


def _has_header(sample: bytes) -> bool:
    """Whether a file starts with the names of columns."""
    text = decoded(sample)
    delimiter = guess_dialect(text, "", DEFAULT_OPTIONS).delimiter
    cells = [cell.strip('" ') for cell in text.partition("\n")[0].split(delimiter or None)]
    return names_both(cells)


def _table_of(sample: bytes, options: ReadingOptions) -> Format | None:
    text = decoded(sample)
    if "\0" in text or not guess_dialect(text, "", options).delimiter:
        return None
    return CSV
