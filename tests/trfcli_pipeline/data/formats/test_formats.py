import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from trfcli_pipeline.data.formats import FORMATS, WRITERS, open_writer
from trfcli_pipeline.data.formats.csv_writer import CsvWriter
from trfcli_pipeline.data.formats.docbin import DocBinWriter
from trfcli_pipeline.data.formats.jsonl_writer import JsonlWriter
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.errors import ArgumentError

N_ROWS = 4000
TEXT = "a text of some length, " * 200


def lines(row: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", encoding="utf-8") as stream:
            stream.write("text\n" if ".csv" in path.name or ".tsv" in path.name else "")
            for _ in range(N_ROWS):
                stream.write(f"{row}\n")

    return write


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": [f"{n} {TEXT}" for n in range(N_ROWS)]}), path)


JSON_ROW = json.dumps({"text": TEXT})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.jsonl", lines(JSON_ROW)),
        ("a.jsonl.gz", lines(JSON_ROW)),
        ("a.json", lines(JSON_ROW)),
        ("a.csv", lines(f'"{TEXT}"')),
        ("a.tsv.gz", lines(f'"{TEXT}"')),
        ("a.txt", lines(TEXT)),
        ("a.parquet", parquet),
    ],
)
def test_reading_takes_little_memory(
    tmp_path: Path, name: str, write: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    write(path)
    # Import and set up everything before measuring.
    next(iter(Reading(path, labeled=False)))
    tracemalloc.start()
    try:
        number = sum(1 for _ in Reading(path, labeled=False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == N_ROWS
    # Parquet needs the most, because it decodes 1024 rows together.
    assert peak < N_ROWS * len(TEXT)


def test_name_of_places_in_every_format() -> None:
    assert {suffix: format.place for suffix, format in FORMATS.items()} == {
        **dict.fromkeys(FORMATS, "line"),
        **dict.fromkeys((".parquet", ".arrow", ".xlsx"), "row"),
        ".spacy": "doc",
    }


def test_writer_is_chosen_by_suffix() -> None:
    assert isinstance(open_writer("-"), JsonlWriter)
    assert isinstance(open_writer("a.JSONL.gz"), JsonlWriter)
    assert isinstance(open_writer("a.spacy"), DocBinWriter)
    table = open_writer("a.tsv.gz")
    assert isinstance(table, CsvWriter)
    assert table.delimiter == "\t"
    assert set(WRITERS) - {".xlsx"} < set(FORMATS)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a.txt", 'unknown suffix ".txt"'),
        ("a", "no suffix, so the format is unknown"),
        ("a.gz", "no suffix, so the format is unknown"),
    ],
)
def test_formats_that_cannot_be_written(name: str, problem: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_writer(name)
    assert caught.value.message == f"{name}: {problem}"
    assert caught.value.hint == (
        "Use .jsonl, .csv, .tsv, .parquet, .xlsx, .spacy, optionally with .gz, "
        "or - for JSONL on stdout"
    )
