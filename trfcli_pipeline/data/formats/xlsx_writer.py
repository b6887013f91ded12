"""Write .xlsx files."""

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from trfcli_pipeline.data.formats.rows import quoted
from trfcli_pipeline.data.formats.writing import Kind, Writer, as_text
from trfcli_pipeline.errors import OutputError, needs_extra

# Excel's limits. The first row is the header.
_MOST_ROWS = 2**20 - 1
_MOST_COLUMNS = 2**14
_LONGEST_CELL = 2**15 - 1
# Excel keeps 15 digits of a number.
_LARGEST_INTEGER = 10**15
# Characters that XML doesn't have or doesn't keep, and what looks like the escape for one.
_ESCAPED = re.compile("[\0-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


class XlsxWriter(Writer):
    """Collects rows, and writes them as the only sheet of a workbook.

    Texts are cells of type text: Excel never runs them as formulas, and keeps leading zeros.
    Control characters are written as the standard has it, such as `_x0007_`.

    Raises:
        OutputError: openpyxl isn't installed.
    """

    resumable = False
    most_rows = _MOST_ROWS
    instead = "Write a .csv, .parquet or .jsonl file instead"

    def __init__(self) -> None:
        super().__init__()
        with needs_extra("Writing .xlsx files needs openpyxl", "xlsx", OutputError):
            import openpyxl.cell
        self._openpyxl = openpyxl
        self._rows: list[list[Any]] = []

    def refusal(self, row: Mapping[str, Any]) -> str | None:
        for column, value in row.items():
            text = as_text(value) or ""
            # Most cells are too short to count: an escape has seven characters.
            if 7 * len(text) > _LONGEST_CELL and (length := _length(text)) > _LONGEST_CELL:
                return (
                    f"{quoted(column)} has {length:,} characters, but a cell of an .xlsx file "
                    f"holds at most {_LONGEST_CELL:,}"
                )
        return None

    def start(self, columns: Mapping[str, Kind]) -> bytes:
        super().start(columns)
        if len(columns) > _MOST_COLUMNS:
            problem = f"An .xlsx file holds at most {_MOST_COLUMNS:,} columns, not {len(columns):,}"
            raise OutputError(problem, hint=self.instead)
        return b""

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        for row in batch:
            refusal = self.refusal(row)
            if refusal is None and len(self._rows) == _MOST_ROWS:
                refusal = f"an .xlsx file holds at most {_MOST_ROWS:,} rows"
            if refusal is not None:
                problem = f"Row {len(self._rows) + 1:,} of the output: {refusal}"
                raise OutputError(problem, hint=self.instead)
            self._rows.append(self._cells(row))
        return b""

    def end(self) -> bytes:
        workbook = self._openpyxl.Workbook(write_only=True)
        sheet = workbook.create_sheet()
        for row in [[as_text(column) for column in self._kinds], *self._rows]:
            sheet.append([self._new_cell(sheet, value) for value in row])
        stream = io.BytesIO()
        workbook.save(stream)
        return stream.getvalue()

    def _new_cell(self, sheet: Any, value: Any) -> Any:
        if isinstance(value, int) and abs(value) >= _LARGEST_INTEGER:
            value = str(value)
        if not isinstance(value, str):
            return value
        cell = self._openpyxl.cell.WriteOnlyCell(sheet, _escaped(value))
        # openpyxl would make a formula of "=1+1" and an error of "#N/A".
        cell.data_type = "s"
        return cell


def _length(text: str) -> int:
    """How many characters of a cell a text takes, which Excel counts in UTF-16."""
    return len(_escaped(text).encode("utf-16-le")) // 2


def _escaped(text: str) -> str:
    return _ESCAPED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return f"_x{ord(match[0]):04X}_"
