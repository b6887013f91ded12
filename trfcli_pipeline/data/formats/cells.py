"""From the cells of a table to rows: its header, and what is odd in it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from trfcli_pipeline.data.column_names import is_known, names_both, normalized
from trfcli_pipeline.data.formats.rows import QUOTE_DELIMITERS, BadRowError, RawFile, Rows, quoted
from trfcli_pipeline.data.wording import plural

Cells = Iterator[tuple[int, list[str] | BadRowError]]

# Rows by which a header is recognized.
_SAMPLE = 200
# A header is among the first rows.
_HEADER_ROWS = 8
# A line under the header is among these.
_RULE_ROWS = 3
_RULE = re.compile(r"[-+|:\s]*--[-+|:\s]*")
_LONG_NAME, _MANY_WORDS = 40, 6
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*%?")
_FOOTER = re.compile(
    r"(?:(?:grand|sub)[ -]?)?totals?\b|sum\b|count\b|average\b|\(?\d[\d,]* (?:rows?|records?)\b",
    re.IGNORECASE,
)


def to_rows(cells: Cells, file: RawFile) -> Rows:
    """Name the cells of each row by the columns of the table.

    Rows without values are left out, and so is a footer if labels are read; a text whose line ends
    aren't in quotes is joined. Each gets a remark.

    Args:
        cells: The place of each row, and its cells.
        file: The file; its `columns` are set.
    """
    cells = _not_blank(cells, file)
    if file.labeled:
        cells = _without_rules(cells)
    start = list(islice(cells, _SAMPLE))
    n_above = _rows_above(start, file)
    start = start[n_above:]
    good = [row for _, row in start if not isinstance(row, BadRowError)]
    if not good or isinstance(start[0][1], BadRowError):
        yield from start[:1]
        return
    n_header = _name_levels(good, file) or _name_columns(good, file)
    if n_above and n_header == 1 and _names_row_numbers(good):
        # The upper one of two levels was left out.
        n_header = 2
    columns = file.columns or []
    header = good[0] if n_header else None
    rows = _without_headers(chain(start[n_header:], cells), header, file)
    for place, row in _joined(_without_footer(rows, file), len(columns), file):
        if isinstance(row, BadRowError):
            yield place, row
            continue
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            problem = f"{len(row)} fields, but the header names {plural(len(columns), 'column')}"
            advice = (
                QUOTE_DELIMITERS if file.place == "line" else "Name all columns in the first row"
            )
            yield place, BadRowError(problem, advice=advice)
        else:
            yield place, dict(zip(columns, row, strict=False))


def _not_blank(cells: Cells, file: RawFile) -> Cells:
    for place, row in cells:
        if isinstance(row, BadRowError) or any(cell.strip() for cell in row):
            yield place, row
        elif row:
            file.remarks.count(
                file.place,
                place,
                "a row without values was left out",
                "rows without values were left out",
            )


def _without_rules(cells: Cells) -> Cells:
    """Leave out the lines that are drawn between the header and the rows of a printed table."""
    for number, (place, row) in enumerate(cells):
        text = "" if isinstance(row, BadRowError) else "".join(row).strip()
        if number > _RULE_ROWS or _RULE.fullmatch(text) is None:
            yield place, row


def _rows_above(rows: Sequence[tuple[int, list[str] | BadRowError]], file: RawFile) -> int:
    """Number of rows above the header: titles, comments, or a header over several columns."""
    filled = [
        () if isinstance(row, BadRowError) else tuple(cell.strip() for cell in row if cell.strip())
        for _, row in rows
    ]
    number = next((at for at, cells in enumerate(filled) if not _is_comment(cells)), 0)
    if not number or not any(map(is_known, filled[number])):
        # Texts may start with a hashtag.
        number = next((at for at, cells in enumerate(filled) if len(cells) != 1), len(filled))
        if [len(cells) for cells in filled[number:]].count(1):
            number = 0
    if filled and not any(map(is_known, filled[0])):
        number = _narrow_rows(rows, filled) or number
    if filled and not names_both(filled[0]):
        named = [at for at, cells in enumerate(filled[:_HEADER_ROWS]) if names_both(cells)]
        number = named[0] if named else number
    if len(filled) < number + 2:
        return 0
    for place, _ in rows[:number]:
        file.remarks.odd(f"{file.place} {place}: left out, because the table starts below it")
    return number


def _narrow_rows(
    rows: Sequence[tuple[int, list[str] | BadRowError]], filled: Sequence[Sequence[str]]
) -> int:
    """Number of rows above the first one that has as many cells as most, if that is a header."""
    [(usual, _)] = Counter(map(len, filled)).most_common(1)
    number = next((at for at, cells in enumerate(filled) if len(cells) >= usual), 0)
    below = [row for _, row in rows[number + 1 :] if not isinstance(row, BadRowError)]
    header = rows[number][1]
    if number > _HEADER_ROWS or isinstance(header, BadRowError):
        return 0
    return number if _is_header([cell.strip() for cell in header], below, set()) else 0


def _is_comment(cells: Sequence[str]) -> bool:
    return bool(cells) and cells[0].startswith("#")


def _without_headers(rows: Cells, header: list[str] | None, file: RawFile) -> Cells:
    """Leave out copies of the header, which files have that were joined from several."""
    for place, row in rows:
        if header is not None and row == header:
            file.remarks.count(
                file.place,
                place,
                "left out, because it repeats the header",
                "rows that repeat the header were left out",
            )
        else:
            yield place, row


def _name_columns(rows: Sequence[list[str]], file: RawFile) -> int:
    """Set the names of the columns; return the number of rows that the header takes."""
    named = {*file.options.text_column, *file.options.label_column}
    cells = [cell.strip() for cell in rows[0]]
    if _is_header(cells, rows[1:], named):
        if _has_row_names(cells, rows[1:]):
            cells.insert(0, "")
        while cells and not cells[-1] and all(not any(row[len(cells) - 1 :]) for row in rows[1:]):
            cells.pop()
        file.columns = _unique(cells, file)
        return 1
    width = max(len(row) for row in rows)
    file.columns = [f"column_{number}" for number in range(1, width + 1)]
    file.remarks.guess(
        f"no header, so the columns are called {file.columns[0]} to {file.columns[-1]}"
        if width > 1
        else f"no header, so the column is called {file.columns[0]}"
    )
    return 0


def _name_levels(rows: Sequence[list[str]], file: RawFile) -> int:
    """Set the names of columns with two levels each, as pandas writes them beside row numbers.

    Only a repeated name above, and cells without row numbers below, tell such a header from others.

    Returns:
        The number of rows that the header takes; 0 if it is another one.
    """
    if len(rows) < 3:
        return 0
    upper, lower = ([cell.strip() for cell in row] for row in rows[:2])
    named = [cell for cell in upper if cell]
    if upper[0] or lower[0] or len(upper) != len(lower) or len(set(named)) == len(named):
        return 0
    n_header = 3 if _names_row_numbers(rows[1:]) else 2
    if not all(row[0].strip() for row in rows[2:]):
        return 0
    cells = [" ".join(filter(None, levels)) for levels in zip(upper, lower, strict=True)]
    file.columns = _unique(cells, file)
    names = ", ".join(map(quoted, file.columns[1:]))
    file.remarks.guess(f"the header has two rows, so the columns are called {names}")
    return n_header


def _names_row_numbers(rows: Sequence[list[str]]) -> bool:
    """Whether the row below the header has only the name of the row numbers.

    pandas writes it there if columns have two levels.
    """
    if len(rows) < 3 or rows[0][0].strip():
        return False
    name, *others = (cell.strip() for cell in rows[1])
    return bool(name) and not name.isdigit() and not any(others)


def _has_row_names(cells: Sequence[str], rows: Sequence[list[str]]) -> bool:
    """Whether each row has a name before its cells, which the header lacks, as R writes it."""
    names = {row[0] for row in rows}
    return (
        len(names) == len(rows) > 2
        and not any(" " in name for name in names)
        and all(len(row) == len(cells) + 1 for row in rows)
        and any(row[-1].strip() for row in rows)
    )


def _is_header(cells: Sequence[str], rows: Sequence[list[str]], named: set[str]) -> bool:
    if named & set(cells) or any(map(is_known, cells)):
        return True
    numbers = [cell for cell in cells if cell]
    if numbers[1:] and numbers == [str(number) for number in range(len(numbers))]:
        # pandas' names for columns without names.
        return True
    if any(normalized(name).startswith("column_") for name in named):
        return False
    for column, cell in enumerate(cells):
        if len(cell) > _LONG_NAME or len(cell.split()) >= _MANY_WORDS or _NUMBER.fullmatch(cell):
            return False
        below = [row[column].strip() for row in rows if column < len(row)]
        # Values of a column of labels occur more than once.
        if cell and cell in below:
            return False
    return bool(rows)


def _unique(cells: Sequence[str], file: RawFile) -> list[str]:
    """Names for all columns: unnamed ones get their number, and repeated ones a suffix."""
    columns: list[str] = []
    unnamed = []
    for number, cell in enumerate(cells, start=1):
        name = cell
        if not name:
            name = f"column_{number}"
            unnamed.append(name)
        elif name in columns:
            at = 2
            while f"{cell}_{at}" in columns or f"{cell}_{at}" in cells:
                at += 1
            name = f"{cell}_{at}"
            file.remarks.odd(
                f"two columns are called {quoted(cell)}; column {number} is called {quoted(name)}"
            )
        columns.append(name)
    if unnamed:
        are = "a column without a name is" if len(unnamed) == 1 else "columns without names are"
        file.remarks.guess(f"{are} called {', '.join(unnamed)}")
    return columns


def _without_footer(rows: Iterable[tuple[int, list[str] | BadRowError]], file: RawFile) -> Cells:
    held: tuple[int, list[str] | BadRowError] | None = None
    for each in rows:
        if held is not None:
            yield held
        held = each
    if held is None:
        return
    place, row = held
    is_footer = (
        not isinstance(row, BadRowError)
        and len(file.columns or []) > 1
        and _FOOTER.match(row[0].strip())
        and all(not cell.strip() or _NUMBER.fullmatch(cell.strip()) for cell in row[1:])
    )
    if not is_footer:
        yield held
    elif file.labeled:
        file.remarks.odd(f"{file.place} {place}: left out, because it looks like a footer")
    else:
        file.remarks.odd(f"{file.place} {place} looks like a footer")
        yield held


def _joined(rows: Cells, width: int, file: RawFile) -> Cells:
    """Join the rows that a text was divided into, whose line ends aren't in quotes."""
    held: tuple[int, list[str]] | None = None
    for each in rows:
        place, row = each
        is_joined = False
        if held is not None:
            start, cut = held
            held = None
            if isinstance(row, BadRowError) or len(cut) + len(row) - 1 > width:
                # It only lacks its last cells.
                yield start, cut
            else:
                place, row = start, [*cut[:-1], f"{cut[-1]}\n{row[0]}", *row[1:]]
                is_joined = True
        if not isinstance(row, BadRowError) and _may_be_cut(row, width):
            held = place, row
            continue
        if is_joined:
            file.remarks.count(
                file.place,
                place,
                "joined with what follows, because a line end in it isn't in quotes",
                "records were joined from several lines, as line ends in them aren't in quotes",
            )
        yield place, row
    if held is not None:
        yield held


def _may_be_cut(row: Sequence[str], width: int) -> bool:
    return len(row) < width and " " in row[-1].strip()
