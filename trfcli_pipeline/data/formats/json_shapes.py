"""The shapes of JSON files: lists of records in objects, and tables by column."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trfcli_pipeline.data.column_names import LABELS, TEXTS, first_of
from trfcli_pipeline.data.formats.cells import to_rows
from trfcli_pipeline.data.formats.rows import BadRowError, RawFile, Rows, quoted
from trfcli_pipeline.data.wording import enumeration, plural
from trfcli_pipeline.errors import DataError


def expand(place: int, value: Any, file: RawFile) -> Rows:
    """Find the records in the only value of a file.

    Raises:
        DataError: It has several lists of records, such as a training set and a test set, and the
            user hasn't said which one to read.
    """
    if not isinstance(value, dict) or (file.part is None and _is_record(value)):
        yield place, value
        return
    lists = {
        key: each
        for key, each in value.items()
        if isinstance(each, list) and each and isinstance(each[0], dict | list)
    }
    if file.part is not None:
        if file.part not in lists:
            raise DataError(
                f"{file.name}: no list of records is called {quoted(file.part)}",
                hint=f"Its lists: {enumeration([quoted(key) for key in lists])}",
            )
        lists = {file.part: lists[file.part]}
    if len(lists) > 1:
        counts = [f"{key} ({plural(len(each), 'record')})" for key, each in lists.items()]
        raise DataError(
            f"{file.name}: several lists of records: {enumeration(counts)}",
            hint=f"Name one of them: {file.name}#{next(iter(lists))}",
        )
    if lists:
        file.place = "record"
        [(name, rows)] = lists.items()
        file.remarks.guess(f"reading the list {quoted(name)}")
        columns = value.get("columns")
        if isinstance(columns, list) and all(isinstance(each, list) for each in rows):
            # pandas' orient="split"
            yield from _numbered(dict(zip(columns, row, strict=False)) for row in rows)
        else:
            yield from as_objects(list(_numbered(rows)), file)
        return
    columns = _columns(value)
    if columns is None:
        yield place, value
        return
    file.place = "record"
    file.remarks.guess("a table by column, as pandas writes it")
    yield from _numbered(columns)


def as_objects(rows: Sequence[tuple[int, Any]], file: RawFile) -> Rows:
    """Convert rows that are lists of values, such as `["text", "label"]`, to objects."""
    good = [row for _, row in rows if not isinstance(row, BadRowError)]
    if all(_is_plain_list(row) for row in good) and good:
        yield from to_rows(((place, row) for place, row in rows), file)
    elif good and all(isinstance(row, dict) and isinstance(row.get("row"), dict) for row in good):
        # The hub's viewer: {"row_idx": 0, "row": {...}}.
        yield from ((place, row["row"]) for place, row in rows)
    else:
        yield from rows


def _is_plain_list(row: Any) -> bool:
    return isinstance(row, list) and len(row) > 1 and all(isinstance(cell, str) for cell in row)


def _is_record(value: Mapping[str, Any]) -> bool:
    text = first_of(TEXTS, value)
    return text is not None and isinstance(value[text], str)


def _columns(value: Mapping[str, Any]) -> Iterable[dict[str, Any]] | None:
    """The rows of a table that is an object by column, or by row; None if it is neither."""
    columns = list(value.values())
    if len(columns) < 2:
        return None
    if all(isinstance(column, list) for column in columns):
        lengths = {len(column) for column in columns}
        is_table = len(lengths) == 1 and lengths != {0}
        return (
            (dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True))
            if is_table
            else None
        )
    if not all(isinstance(column, dict) for column in columns):
        return None
    keys = list(columns[0])
    if first_of(TEXTS, keys) and all(first_of(TEXTS, row) for row in columns):
        return columns
    if first_of([*TEXTS, *LABELS], value) and all(list(column) == keys for column in columns):
        return ({name: value[name][key] for name in value} for key in keys)
    return None


def _numbered(rows: Iterable[Any]) -> Rows:
    yield from enumerate(rows, start=1)
