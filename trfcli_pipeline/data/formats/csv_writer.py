"""Write .csv and .tsv files."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trfcli_pipeline.data.formats.formulas import not_a_formula
from trfcli_pipeline.data.formats.writing import Kind, Writer, as_text


class CsvWriter(Writer):
    """Writes rows as UTF-8 text with a delimiter.

    Text that a spreadsheet would run as a formula, such as "=1+1", starts with an apostrophe in the
    file. The reader removes it.
    """

    def __init__(self, delimiter: str) -> None:
        super().__init__()
        self.delimiter = delimiter

    def start(self, columns: Mapping[str, Kind]) -> bytes:
        # A text file has no types.
        super().start(dict.fromkeys(columns, "text"))
        return self._line([as_text(column) for column in columns]).encode()

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        return "".join(self._line(self._cells(row)) for row in batch).encode()

    def _line(self, cells: Sequence[str | None]) -> str:
        line = io.StringIO(newline="")
        safe = [None if cell is None else not_a_formula(cell) for cell in cells]
        # With a line terminator of \n, csv wouldn't quote cells that contain \r.
        csv.writer(line, delimiter=self.delimiter, lineterminator="\r\n").writerow(safe)
        return line.getvalue().removesuffix("\r\n") + "\n"
