"""Read .csv, .tsv and .parquet files."""

import csv
from functools import partial
from typing import IO, Any

from trfcli_pipeline.data.formats.formulas import plain_text
from trfcli_pipeline.data.formats.rows import (
    COPY_AGAIN,
    LABEL_KEYS,
    LONGEST_LINE,
    BadRowError,
    Format,
    Rows,
    bad_utf8,
    bounded_lines,
    quoted,
)
from trfcli_pipeline.data.surrogates import SURROGATE
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

_CSV_QUOTES = 'Put fields with quotes or newlines in quotes, and double the quotes inside them ("")'


def _read_table(stream: IO[bytes], name: str, delimiter: str) -> Rows:
    # The default of 131,072 characters is less than a book. The limit is global to the csv module;
    # it can't be set for a single reader.
    csv.field_size_limit(LONGEST_LINE)
    # Invalid bytes become surrogates, which valid UTF-8 never contains, and are found row by row.
    lines = (
        raw.decode("utf-8-sig" if number == 0 else "utf-8", errors="surrogateescape")
        for number, raw in enumerate(bounded_lines(stream, name))
    )
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        place = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, _bad_csv(error)
            continue
        if not cells:
            continue
        cells = [plain_text(cell) for cell in cells]
        undecoded = SURROGATE.search("".join(cells))
        if undecoded:
            yield place, bad_utf8(ord(undecoded.group()) - 0xDC00)
            if header is None:
                return
        elif header is None:
            header = [cell.strip() for cell in cells]
            if "text" not in header:
                raise DataError(
                    f'{name}, line {place}: the header has no column "text" '
                    f"(its columns: {enumeration([quoted(cell) for cell in header])})",
                    hint=f'The first line must name the columns, such as "text{delimiter}label"',
                )
        elif len(cells) > len(header):
            problem = f"{len(cells)} fields, but the header names {len(header)} columns"
            yield place, BadRowError(problem, advice=_CSV_QUOTES)
        else:
            yield place, _with_label_list(dict(zip(header, cells, strict=False)))


def _bad_csv(error: csv.Error) -> BadRowError:
    if "unexpected end" in str(error):
        return BadRowError("the quoted field that starts here is never closed", advice=_CSV_QUOTES)
    return BadRowError(f"not valid CSV ({str(error).partition(' - ')[0]})", advice=_CSV_QUOTES)


def _with_label_list(row: dict[str, Any]) -> dict[str, Any]:
    """Convert the labels of a table row to their JSON form."""
    for key in LABEL_KEYS:
        if key in row and row[key] is None:
            del row[key]
    if isinstance(row.get("label"), str):
        row["label"] = row["label"].strip()
        if not row["label"]:
            del row["label"]
    if isinstance(row.get("labels"), str):
        parts = row["labels"].split("|") if row["labels"].strip() else []
        row["labels"] = [part.strip() for part in parts]
    return row


def _read_parquet(stream: IO[bytes], name: str) -> Rows:
    try:
        import pyarrow.parquet
    except ImportError as error:
        hint = 'pip install "trfcli[parquet]"'
        raise DataError(f"{name}: pyarrow is needed to read Parquet files", hint=hint) from error
    try:
        batches = pyarrow.parquet.ParquetFile(stream).iter_batches(batch_size=1024)
        rows = (row for batch in batches for row in batch.to_pylist())
        for place, row in enumerate(rows, start=1):
            match row.get("cats"):
                case dict() as cats:
                    # In a struct column every row has every key, with null for missing ones.
                    row["cats"] = {key: value for key, value in cats.items() if value is not None}
                case [tuple(), *_] | [] as pairs:
                    row["cats"] = dict(pairs)
            yield place, _with_label_list(row)
    except Exception as error:  # a damaged file may have values that Python doesn't have
        raise DataError(f"{name}: not a Parquet file, or damaged", hint=COPY_AGAIN) from error


CSV = Format(partial(_read_table, delimiter=","))
TSV = Format(partial(_read_table, delimiter="\t"))
PARQUET = Format(_read_parquet, place="row")
