"""Write data files in every format."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import openpyxl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.data.reading.sources import Part
from trfcli_pipeline.data.records import Record


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def plain(records: Sequence[Record]) -> list[tuple[str, dict[str, float] | None]]:
    return [(record.text, record.cats) for record in records]


# These writers don't share code with ours, so that readers are tested independently.


def as_jsonl(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    return jsonl(*({"text": text, "cats": cats} for text, cats in rows))


def as_raw_jsonl(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    lines = [json.dumps([text, {"cats": cats}], ensure_ascii=False) for text, cats in rows]
    return "\n".join(lines).encode()


def as_json(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    records = [{"text": text, "cats": cats} for text, cats in rows]
    return json.dumps(records, ensure_ascii=False, indent=1).encode()


def as_parquet(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(_arrow_table(rows), stream)
    return stream.getvalue()


def as_arrow(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    """In the stream format, which the `datasets` library writes."""
    stream = io.BytesIO()
    table = _arrow_table(rows)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _arrow_table(rows: list[tuple[str, dict[str, float]]]) -> pa.Table:
    cats = pa.array([list(cats.items()) for _, cats in rows], pa.map_(pa.string(), pa.float64()))
    return pa.table({"text": [text for text, _ in rows], "cats": cats})


def as_spacy(rows: list[tuple[str, dict[str, float]]]) -> bytes:
    vocab = Vocab()
    docs = DocBin()
    for text, cats in rows:
        doc = Doc(vocab, words=[text] if text else [], spaces=[False] if text else [])
        doc.cats = dict(cats)
        docs.add(doc)
    return docs.to_bytes()


def as_table(rows: Sequence[Sequence[str]], delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode()


def as_xlsx(rows: Sequence[Sequence[Any]], *, notes: Sequence[Sequence[Any]] = ()) -> bytes:
    """An Excel file with the rows of a table, and with notes on a sheet before it."""
    book = openpyxl.Workbook()
    for row in notes or rows:
        book.active.append(list(row))
    if notes:
        sheet = book.create_sheet("Data")
        for row in rows:
            sheet.append(list(row))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def reading_of(suffix: str, content: bytes, *, labeled: bool) -> Reading:
    """A reading of a file that isn't on disk."""
    reading = Reading("-", labeled=labeled)
    reading._parts = [Part("data", PurePath(f"data{suffix}"), partial(io.BytesIO, content))]
    return reading


CATS_WRITERS: dict[str, Callable[[list[tuple[str, dict[str, float]]]], bytes]] = {
    "cats.jsonl": as_jsonl,
    "pairs.jsonl": as_raw_jsonl,
    "list.json": as_json,
    "map.parquet": as_parquet,
    "map.arrow": as_arrow,
    "docs.spacy": as_spacy,
    "cats.jsonl.gz": as_jsonl,
    "map.parquet.gz": as_parquet,
    "docs.spacy.gz": as_spacy,
}
