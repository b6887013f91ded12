"""Data file formats: readers from bytes to raw rows, and writers.

A reader yields `(place, row)`. The place counts from 1: the line that the record starts on, or the
row if the file has no lines. The row is a JSON value (an object, a pair ...) that isn't validated
yet. A row that can't be parsed is a `BadRowError`, so that reading can go on.

Formats are read as streams, with a few exceptions: a JSON file with one list is loaded as text, and
a .spacy file as arrays. Memory is bounded: a line has at most 64 MiB, and a file that is loaded as
a whole has at most 1 GiB, both uncompressed.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath

from trfcli_pipeline.data.dataset import DEFAULT_OPTIONS, STDIN
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
from trfcli_pipeline.data.formats.tables import CSV, TSV
from trfcli_pipeline.data.formats.txt import TXT
from trfcli_pipeline.data.formats.writing import Writer
from trfcli_pipeline.data.formats.xlsx_writer import XlsxWriter
from trfcli_pipeline.errors import DataError

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
_STARTS = ((b"PAR1", PARQUET), (b"PK\x03\x04", XLSX), (b"{", JSONL), (b"[", JSON))


def open_writer(path: Path | str) -> Writer:
    """Choose a writer by suffix; "-" is JSONL on stdout.

    Raises:
        DataError: The suffix is unknown, or the format can only be read.
        OutputError: A package for the format isn't installed.
    """
    if str(path) == STDIN:
        return JsonlWriter()
    suffix = suffix_of(Path(path))
    if suffix not in WRITERS:
        problem = f'unknown suffix "{suffix}"' if suffix else "no suffix, so the format is unknown"
        hint = f"Use {', '.join(WRITERS)}, optionally with .gz, or - for JSONL on stdout"
        raise DataError(f"{path}: {problem}", hint=hint)
    return WRITERS[suffix]()


def suffix_of(path: PurePath) -> str:
    """The suffix that names the format, before one that says how the file is compressed."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower()


def is_data_name(path: PurePath) -> bool:
    """Whether a file of a data set has texts, by its name, rather than a description of them."""
    return suffix_of(path) in FORMATS and path.name not in _DESCRIPTIONS


def format_of(name: str, suffix: str, sample: bytes) -> Format:
    """Choose the format of a file by its suffix or, if that says nothing, by its content.

    Raises:
        DataError: Neither tells.
    """
    text = sample.decode("utf-8-sig", errors="replace")
    if is_fasttext(text):
        return FASTTEXT
    if suffix in FORMATS:
        return FORMATS[suffix]
    for start, format in _STARTS:
        if text.lstrip().encode().startswith(start) or sample.startswith(start):
            return format
    if "\0" not in text and guess_dialect(text, "", DEFAULT_OPTIONS).delimiter:
        return CSV
    problem = f'unknown suffix "{suffix}"' if suffix else "no suffix, so the format is unknown"
    hint = f"Use {', '.join(FORMATS)}, optionally with .gz, or - for JSONL on stdin"
    raise DataError(f"{name}: {problem}", hint=hint)
