"""What the values of a column in the first rows look like: texts, labels, zeros and ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from trfcli_pipeline.data.reading.cell_values import is_yes
from trfcli_pipeline.data.reading.label_values import guess_separator

Row = Mapping[str, Any]

# In a column of labels, each one occurs so often on average, at least.
_TIMES = 2
_BITS = (0, 1, "0", "1", "0.0", "1.0")
_LONGEST_LABEL = 60
# The largest number that is taken for the number of a class.
_LARGEST_CLASS = 1_000


def values_of(name: str, rows: Sequence[Row]) -> list[Any]:
    """The values of a column that aren't missing."""
    found = [row[name] for row in rows if row.get(name) is not None]
    return [value for value in found if not isinstance(value, str) or value.strip()]


def is_text(name: str, rows: Sequence[Row]) -> bool:
    """Whether most values of a column are strings."""
    values = values_of(name, rows)
    return bool(values) and sum(isinstance(value, str) for value in values) > len(values) / 2


def mean_length(name: str, rows: Sequence[Row]) -> float:
    """Mean number of characters of the strings in a column."""
    values = [value for value in values_of(name, rows) if isinstance(value, str)]
    return sum(map(len, values)) / len(values) if values else 0.0


def is_binary(name: str, rows: Sequence[Row]) -> bool:
    """Whether all values of a column are 0 or 1, or truth values."""
    values = values_of(name, rows)
    return bool(values) and all(
        isinstance(value, bool) or (isinstance(value, int | float | str) and value in _BITS)
        for value in values
    )


def is_marked(name: str, rows: Sequence[Row]) -> bool:
    """Whether the values of a column say yes or no."""
    values = values_of(name, rows)
    return bool(values) and all(is_yes(value) is not None for value in values)


def is_numeric(name: str, rows: Sequence[Row]) -> bool:
    """Whether all values of a column are numbers, or digits."""
    values = values_of(name, rows)
    return bool(values) and all(
        isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit())
        for value in values
    )


def may_be_label(name: str, rows: Sequence[Row]) -> bool:
    """Whether the values of a column are few, short, and occur more than once."""
    values = values_of(name, rows)
    if not values or any(isinstance(value, dict) for value in values):
        return False
    texts = [str(value).strip() for value in values]
    separator = guess_separator(texts)
    if separator:
        texts = [part.strip() for text in texts for part in text.split(separator)]
    different = set(texts)
    if is_numeric(name, rows) and any(float(value) > _LARGEST_CLASS for value in values):
        # A year, for example.
        return False
    return (
        1 < len(different) <= max(2, len(texts) / _TIMES)
        and max(map(len, different)) <= _LONGEST_LABEL
    )
