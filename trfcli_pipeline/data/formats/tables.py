"""Read and write .csv and .tsv files."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from trfcli_pipeline.data.formats.cells import Cells, to_rows
from trfcli_pipeline.data.formats.dialects import Dialect, guess_dialect, swallowed_rows
from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.formats.rows import (
    LONGEST_LINE,
    BadRowError,
    Format,
    RawFile,
    Rows,
    bad_utf8,
    bounded_lines,
    quoted,
)
from trfcli_pipeline.data.formats.streams import SAMPLE
from trfcli_pipeline.data.surrogates import SURROGATE, without_surrogates
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.errors import OutputError

_CSV_QUOTES = 'Put fields with quotes or newlines in quotes, and double the quotes inside them ("")'
# What a spreadsheet takes for the start of a formula.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")


def _read_table(file: RawFile, delimiter: str) -> Rows:
    # The default of 131,072 characters is less than a book. The limit is global to the csv module;
    # it can't be set for a single reader.
    csv.field_size_limit(LONGEST_LINE)
    sample = file.sample.decode("utf-8-sig", errors="surrogateescape")
    if len(file.sample) >= SAMPLE:
        sample = sample[: sample.rfind("\n") + 1] or sample
    dialect = guess_dialect(sample, delimiter, file.options)
    for remark in dialect.remarks:
        file.remarks.guess(remark)
    return to_rows(_cells(file, dialect), file)


def _cells(file: RawFile, dialect: Dialect) -> Cells:
    # Invalid bytes become surrogates, which valid UTF-8 never contains, and are found row by row.
    lines = (
        raw.decode("utf-8-sig" if number == 0 else "utf-8", errors="surrogateescape")
        for number, raw in enumerate(bounded_lines(file.stream, file.name))
        if number >= dialect.n_skipped
    )
    reader = dialect.reader(lines)
    width = 0
    while True:
        place = reader.line_num + 1 + dialect.n_skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, _bad_csv(error)
            continue
        cells = [_plain_text(cell) for cell in cells]
        undecoded = SURROGATE.search("".join(cells))
        if undecoded:
            yield place, bad_utf8(ord(undecoded.group()) - 0xDC00)
            continue
        width = width or len(cells)
        swallowed = sum(swallowed_rows(cell, dialect.delimiter, width) for cell in cells)
        if swallowed:
            file.remarks.odd(
                f"line {place}: a quoted field has {plural(swallowed, 'line')} in it that look"
                f"{'s' if swallowed == 1 else ''} like rows: is a quote missing? (--quoting none)"
            )
        yield place, cells


def _plain_text(cell: str) -> str:
    """Undo `_not_a_formula`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _not_a_formula(cell: str) -> str:
    """Keep a spreadsheet from running a text as a formula, by an apostrophe before it.

    A number isn't a formula. A text that starts with apostrophes and such a character gets one
    more, so that `_plain_text` returns every text unchanged.
    """
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _bad_csv(error: csv.Error) -> BadRowError:
    if "unexpected end" in str(error):
        return BadRowError("the quoted field that starts here is never closed", advice=_CSV_QUOTES)
    return BadRowError(f"not valid CSV ({str(error).partition(' - ')[0]})", advice=_CSV_QUOTES)


class TableWriter:
    """Writes rows as a table, with the keys of the first row as the header.

    For `{"cats": {"A": 0.9}, "labels": ["A"]}`, the table has a column `labels`, separated by "|",
    and a column `score_A` for each label of `cats`. Lists and objects are written as JSON. Text
    that a spreadsheet would run as a formula, such as "=1+1", starts with an apostrophe in the
    file. The reader removes it.
    """

    streams = True
    takes_docs = False

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self.state: dict[str, Any] = {}
        self.left_out: set[str] = set()

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        lines: list[str] = []
        for row in batch:
            flat = _flat(row)
            if "columns" not in self.state:
                self.state["columns"] = list(flat)
                lines.append(self._line(self.state["columns"]))
            columns = self.state["columns"]
            lines.append(self._line([_cell(flat.get(column)) for column in columns]))
            self.left_out.update(flat.keys() - set(columns))
        return without_surrogates("".join(lines)).encode("utf-8")

    def end(self) -> bytes:
        return b""

    def _line(self, cells: Sequence[Any]) -> str:
        line = io.StringIO(newline="")
        # With a line terminator of \n, csv wouldn't quote cells that contain \r.
        safe = [_not_a_formula(cell) if isinstance(cell, str) else cell for cell in cells]
        csv.writer(line, delimiter=self.delimiter, lineterminator="\r\n").writerow(safe)
        return line.getvalue().removesuffix("\r\n") + "\n"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = dict(row)
    flat |= {f"score_{label}": score for label, score in flat.pop("cats", {}).items()}
    if "labels" in flat:
        flat["labels"] = _joined(flat["labels"])
    return flat


def _joined(labels: Sequence[str]) -> str:
    for label in labels:
        if "|" in label:
            problem = f'Label {quoted(label)}: tables use "|" to separate labels'
            raise OutputError(problem, hint="Write a .jsonl file instead")
    return "|".join(labels)


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | bool):
        return to_json(value)
    # As a missing value: NaN isn't a number that others read.
    return None if isinstance(value, float) and not math.isfinite(value) else value


CSV = Format(partial(_read_table, delimiter=","))
TSV = Format(partial(_read_table, delimiter="\t"))
