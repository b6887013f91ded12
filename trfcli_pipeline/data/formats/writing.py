"""What all writers share: their interface, and the form that values have in a table."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from trfcli_pipeline.data.formats.json import to_json
from trfcli_pipeline.data.surrogates import without_surrogates

Kind = Literal["text", "integer", "number", "boolean"]

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class Writer:
    """Converts rows to the bytes of an output file, batch by batch.

    Attributes:
        resumable: Whether another writer can continue what this one has written.
        takes_docs: Whether batches are those of `DocBinWriter`.
        is_table: Whether all rows have the same columns.
        most_rows: How many rows a file holds; None if there is no limit.
        instead: What to do if a file can't hold the rows.
        left_out: Keys of rows that the table has no column for.
    """

    resumable = True
    takes_docs = False
    is_table = True
    most_rows: int | None = None
    instead: str | None = None

    def __init__(self) -> None:
        self.left_out: set[str] = set()
        self._kinds: dict[str, Kind] = {}

    def start(self, columns: Mapping[str, Kind]) -> bytes:
        """Take the columns of a table, and return its header.

        Args:
            columns: The name of each column, and what its values are, in the order of the file.
        """
        self._kinds = dict(columns)
        return b""

    def add(self, batch: Any) -> bytes:
        """Return the bytes of a batch of rows; none if they come later.

        Args:
            batch: An iterable of mappings from column to JSON value.
        """
        raise NotImplementedError

    def end(self) -> bytes:
        """Return the end of the file."""
        return b""

    def refusal(self, row: Mapping[str, Any]) -> str | None:
        """Why the file can't hold a row; None if it can."""
        return None

    def _cells(self, row: Mapping[str, Any]) -> list[Any]:
        """The cells of a row, and keep in mind which of its keys have none."""
        self.left_out.update(row.keys() - self._kinds.keys())
        return [_cell(row.get(column), kind) for column, kind in self._kinds.items()]


def kind_of(value: Any) -> Kind | None:
    """What a column of such values is in a table with types; None for a missing value."""
    match value:
        case None:
            return None
        case bool():
            return "boolean"
        case int() if _SMALLEST <= value <= _LARGEST:
            return "integer"
        case float():
            return "number"
    return "text"


def common_kind(kind: Kind | None, other: Kind | None) -> Kind | None:
    """What a column is that has values of both kinds."""
    if kind == other or kind is None or other is None:
        return kind or other
    return "number" if {kind, other} == {"integer", "number"} else "text"


def as_text(value: Any) -> str | None:
    """The text of a cell: lists and objects are JSON, other values are as Python prints them.

    A number that isn't finite is a missing value, because others don't read NaN as a number.
    """
    match value:
        case None:
            return None
        case str():
            return without_surrogates(value)
        case float() if not math.isfinite(value):
            return None
        case list() | dict() | bool():
            return without_surrogates(to_json(value))
    return without_surrogates(str(value))


def _cell(value: Any, kind: Kind) -> Any:
    if kind == "text":
        return as_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return float(value) if kind == "number" and value is not None else value
