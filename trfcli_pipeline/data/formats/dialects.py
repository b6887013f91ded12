"""How a table is written: what separates its cells, and how cells are quoted."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trfcli_pipeline.data.dataset import ReadingOptions
from trfcli_pipeline.data.formats.streams import SAMPLE

# Rows of the sample that are compared.
_ROWS = 1_000
_DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*\n')
# Quoted cells that are separated by spaces, as R writes them.
_SPACED = re.compile(r'"[^"]*"( ("[^"]*"|[^" ]+))+')
# The share of lines that must have as many cells as the header, if quotes are to be ignored.
_CONSISTENT = 0.99
# Names of delimiters for messages.
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes:
        delimiter: What separates cells.
        quoting: One of `dataset.QUOTINGS`.
        n_skipped: Number of lines before the table: 1 for Excel's line "sep=;".
        remarks: What was guessed, as sentences.
    """

    delimiter: str
    quoting: str = "minimal"
    n_skipped: int = 0
    remarks: tuple[str, ...] = ()

    def reader(self, lines: Iterator[str], *, strict: bool = True) -> Any:
        """Create a reader of the `csv` module, which has no public name for its class.

        Args:
            lines: Lines with their ends.
            strict: Whether wrong quotes are errors.
        """
        match self.quoting:
            case "none":
                return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
            case "backslash":
                return csv.reader(
                    lines,
                    delimiter=self.delimiter,
                    doublequote=False,
                    escapechar="\\",
                    strict=strict,
                )
        return csv.reader(lines, delimiter=self.delimiter, strict=strict)


def guess_dialect(sample: str, default: str, options: ReadingOptions) -> Dialect:
    """Find out how a table is written.

    Args:
        sample: The start of the file; only whole lines.
        default: The delimiter that the file's suffix suggests.
        options: What the user says takes precedence.
    """
    remarks = []
    line = _SEPARATOR_LINE.match(sample)
    n_skipped = 1 if line else 0
    body = sample[line.end() :] if line else sample
    delimiter = options.delimiter or (line[1] if line else None)
    if delimiter is None:
        delimiter = _guess_delimiter(body, default)
        if delimiter != default:
            remarks.append(f"cells are separated by {NAMES[delimiter]} (--delimiter)")
    quoting = options.quoting
    if quoting is None:
        quoting = _guess_quoting(body, delimiter)
        if quoting == "backslash":
            remarks.append(r"a backslash is before quotes and delimiters in cells (--quoting)")
        elif quoting == "none":
            remarks.append("quotes are read as part of the text, as every line is a row without")
            remarks[-1] += " them (--quoting)"
    return Dialect(delimiter, quoting, n_skipped, tuple(remarks))


def swallowed_rows(cell: str, delimiter: str, width: int) -> int:
    """Number of rows that a quoted cell seems to have in it: a quote may be missing or too much."""
    if width < 2 or "\n" not in cell:
        return 0
    # A row has a value.
    inner = [line for line in cell.split("\n")[1:-1] if line.strip(f"{delimiter} \r")]
    return len(inner) if all(line.count(delimiter) == width - 1 for line in inner) else 0


def _guess_delimiter(sample: str, default: str) -> str:
    best, highest = default, (0.0, False, 0)
    for delimiter in _DELIMITERS:
        width, share = _consistency(sample, delimiter)
        if width > 1 and (share, delimiter == default, width) > highest:
            best, highest = delimiter, (share, delimiter == default, width)
    lines = [line for line in sample.split("\n")[:_ROWS] if line.strip()]
    if highest[0] < 1 and lines and all(_SPACED.fullmatch(line.strip()) for line in lines):
        return " "
    return best


def _consistency(sample: str, delimiter: str) -> tuple[int, float]:
    """Number of cells of the first row, and the share of rows that have as many."""
    quoting = _guess_quoting(sample, delimiter)
    dialect = Dialect(delimiter, quoting)
    rows = _rows(sample, dialect)
    if rows is None:
        # A bad quote says nothing about what separates the cells of other rows.
        rows = _rows(sample, dialect, strict=False)
    widths = [len(row) for row in rows or [] if any(row)]
    if not widths:
        return 0, 0.0
    return widths[0], sum(width == widths[0] for width in widths) / len(widths)


def _guess_quoting(sample: str, delimiter: str) -> str:
    if not delimiter:
        return "minimal"
    rows = _rows(sample, Dialect(delimiter)) if '"' in sample or f"\\{delimiter}" in sample else []
    if f"\\{delimiter}" in sample and not _are_even(rows):
        escaped = _rows(sample, Dialect(delimiter, "backslash"))
        if escaped and _are_even(escaped):
            return "backslash"
    if '"' not in sample:
        return "minimal"
    is_clean = rows is not None
    if rows:
        width = len(rows[0])
        is_clean = not any(swallowed_rows(cell, delimiter, width) for row in rows for cell in row)
    if is_clean:
        return "minimal"
    if '\\"' in sample and _rows(sample, Dialect(delimiter, "backslash")) is not None:
        return "backslash"
    lines = [line for line in sample.split("\n")[:_ROWS] if line.strip()]
    width = lines[0].count(delimiter)
    same = sum(line.count(delimiter) == width for line in lines)
    return "none" if width and same >= _CONSISTENT * len(lines) else "minimal"


def _are_even(rows: Sequence[list[str]] | None) -> bool:
    """Whether all rows have as many cells."""
    return rows is not None and len({len(row) for row in rows if any(row)}) == 1


def _rows(sample: str, dialect: Dialect, *, strict: bool = True) -> Sequence[list[str]] | None:
    """The first rows of the sample; None if they can't be read in this dialect."""
    rows: list[list[str]] = []
    lines = [f"{line}\n" for line in sample.split("\n")]
    reader = dialect.reader(iter(lines), strict=strict)
    start = 0
    try:
        for row in reader:
            rows.append(row)
            start = reader.line_num
            if len(rows) == _ROWS:
                break
    except csv.Error as error:
        # A sample may end within a quoted cell. In a smaller file, the quote is never closed.
        is_cut = len(sample) > SAMPLE // 2 and len("".join(lines[start:])) < len(sample) // 4
        return rows if "unexpected end" in str(error) and is_cut else None
    return rows
