"""Labelled and plain texts: from the raw rows of a file to checked records, and back to JSONL."""

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.formats import STDIN, open_rows
from trfcli_pipeline.formats.rows import LABEL_KEYS, BadRowError, quoted, without_surrogates

# From this value on, a label holds.
HOLDS = 0.5

_SHOWN = 5
_LABEL_FORMS = 'Labels are read from "cats", "label" or "labels"'
# What people write, and the key that they mean by it.
_LABEL_WORDS = {
    "label": "label",
    "labels": "labels",
    "cats": "cats",
    "category": "label",
    "categories": "labels",
    "class": "label",
    "classes": "labels",
    "tags": "labels",
}


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((int, float), "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
)


@dataclass(frozen=True, slots=True)
class Record:
    """One text of a data file.

    Attributes:
        text: The text, free of lone surrogates.
        cats: A value from 0 to 1 for each label given; {} says that no label holds; None that
            labels were not asked for.
        line: Where the record starts, counted from 1: the line, or the row of a Parquet file or
            the doc of a DocBin.
        extra: The keys that were not read, as they were in the file.
        partial: Whether a label that is not in `cats` is unknown. It is for `{"cats": ...}`; in
            `{"label": ...}` and `{"labels": ...}` it does not hold.
    """

    text: str
    cats: dict[str, float] | None
    line: int
    extra: dict[str, Any] = field(default_factory=dict)
    partial: bool = False

    @property
    def labels(self) -> frozenset[str]:
        """The labels that hold, those with a value of at least 0.5."""
        cats = self.cats or {}
        return frozenset(label for label, value in cats.items() if value >= HOLDS)


def read_records(path: Path | str, *, labelled: bool) -> list[Record]:
    """Read all records of a data file, in order.

    Args:
        path: A .jsonl, .json, .csv, .tsv, .parquet, .spacy or .txt file, each also with .gz;
            "-" is JSONL on stdin.
        labelled: Whether every record must have labels. If not, labels are not looked at: they
            stay in `Record.extra` with the other keys.

    Raises:
        DataError: The file can't be read, has no records, or has bad ones. Then the message is
            about the first of them, and the hint counts them all.
    """
    return list(iter_records(path, labelled=labelled))


def iter_records(path: Path | str, *, labelled: bool) -> Iterator[Record]:
    """Read a data file record by record, as `read_records` does, without holding it in memory.

    Whether the file is there and of a known format is checked at once. From the first bad record
    on nothing more is yielded: the rest of the file is only read to count the bad ones.
    """
    name, format, rows = open_rows(path, labelled=labelled)
    return _checked(name, format.place, rows, labelled=labelled)


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write each row as a line of JSON and return their number.

    The file appears, or replaces an older one, in one step after the last row; when `rows` raises,
    nothing is changed. So the rows may well be read from the very file that is written.

    Args:
        path: The file, compressed if its name ends with .gz; "-" is stdout.
        rows: What to write. Numpy values become numbers and lists; other values that JSON has no
            form for, such as dates, become strings.

    Raises:
        OutputError: The file can't be written.
    """
    if str(path) == STDIN:
        return _write_lines(sys.stdout.buffer.write, rows)
    # Through a link, the file that it leads to is replaced and not the link.
    target = Path(path).resolve()
    if target.is_dir():
        raise OutputError(f"{path}: a directory, not a file", hint="Name a file in it")
    # A pipe or device is written to; putting a file in its place would break it.
    in_place = target.exists() and not target.is_file()
    written = target if in_place else target.with_name(f".{target.name}.{os.getpid()}.tmp")
    opener = gzip.open if target.suffix.lower() == ".gz" else open
    try:
        with opener(written, "wb") as stream:
            number = _write_lines(stream.write, rows)
        if not in_place:
            written.replace(target)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        if not in_place:
            with suppress(OSError):
                written.unlink(missing_ok=True)
    return number


def _checked(
    name: str, place: str, rows: Iterator[tuple[int, Any]], *, labelled: bool
) -> Iterator[Record]:
    number = 0
    bad: list[int] = []
    first: BadRowError | None = None
    for line, row in rows:
        number += 1
        try:
            record = _to_record(row, line, labelled=labelled)
        except BadRowError as error:
            first = first or error
            bad.append(line)
        else:
            if first is None:
                yield record
    if first is not None:
        message = f"{name}, {place} {bad[0]}: {first.reason}"
        raise DataError(message, hint=_hint(first, place, bad, number))
    if number == 0:
        raise DataError(f"{name}: no records in it")


def _hint(first: BadRowError, place: str, bad: list[int], number: int) -> str | None:
    parts = [first.advice] if first.advice else []
    if len(bad) > 1:
        shown = ", ".join(map(str, bad[:_SHOWN])) + (", ..." if len(bad) > _SHOWN else "")
        parts.append(f"{len(bad):,} of {number:,} records can't be read; first: {place}s {shown}")
    return ". ".join(parts) or None


def _to_record(row: Any, line: int, *, labelled: bool) -> Record:
    fields = _fields(row)
    if "text" not in fields:
        raise BadRowError(f'no "text" in the record ({_keys(fields)})', advice=_meant_text(fields))
    text = fields.pop("text")
    if not isinstance(text, str):
        raise BadRowError(f'"text" is {_kind(text)}, not a string')
    text = without_surrogates(text)
    if not labelled:
        return Record(text, None, line, fields)
    given = [key for key in LABEL_KEYS if key in fields]
    if not given:
        raise BadRowError(f"no labels in the record ({_keys(fields)})", advice=_meant_label(fields))
    if len(given) > 1:
        both = " and ".join(f'"{key}"' for key in given)
        raise BadRowError(f"labels given more than once, in {both}", advice="Keep one of them")
    key = given[0]
    cats = _cats(key, fields.pop(key))
    return Record(text, cats, line, fields, partial=key == "cats")


def _fields(row: Any) -> dict[str, Any]:
    match row:
        case BadRowError():
            raise row
        case dict():
            return dict(row)
        case [text, dict() as annotations]:
            return {**annotations, "text": text}
    pair = '["text", {"cats": {...}}]'
    advice = f'A record is {{"text": ..., "label": ...}} or {pair}'
    raise BadRowError(f"the record is {_kind(row)}, not an object or a pair", advice=advice)


def _cats(key: str, value: Any) -> dict[str, float]:
    match key, value:
        case "label", str():
            return {_label_name(key, value): 1.0}
        case "label", _:
            advice = None
            if isinstance(value, list):
                advice = 'For several labels use "labels"'
            elif isinstance(value, int | float):
                advice = "Write the name of the label, not its number"
            raise BadRowError(f'"label" is {_kind(value)}, not a string', advice=advice)
        case "labels", list():
            return {_label_name(key, label): 1.0 for label in value}
        case "labels", _:
            advice = 'For one label use "label"' if isinstance(value, str) else None
            raise BadRowError(f'"labels" is {_kind(value)}, not a list of strings', advice=advice)
        case _, dict():
            return {_label_name(key, name): _value(name, number) for name, number in value.items()}
    raise BadRowError(f'"cats" is {_kind(value)}, not an object with a number for each label')


def _label_name(key: str, label: Any) -> str:
    if not isinstance(label, str):
        raise BadRowError(f'"{key}" holds {_kind(label)}, not only strings')
    if not label.strip():
        raise BadRowError(f'a label in "{key}" has an empty name')
    return without_surrogates(label)


def _value(label: str, value: Any) -> float:
    number = isinstance(value, int | float)
    # NaN is not between any two numbers.
    if not number or not 0 <= value <= 1:
        found = f"the value {value}" if number else _kind(value)
        raise BadRowError(f'"cats" gives {quoted(label)} {found}, not a number from 0 to 1')
    return float(value)


def _kind(value: Any) -> str:
    """What JSON calls a value. Values of other formats go by the name of their Python type."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return f"of type {type(value).__name__}"


def _keys(fields: Mapping[str, Any]) -> str:
    keys = [quoted(key) for key in fields]
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"it has: {', '.join(keys[:_SHOWN])}{more}" if keys else "it has nothing else"


def _meant_text(fields: Mapping[str, Any]) -> str | None:
    for key in fields:
        if get_close_matches(key.lower(), ["text", "texts"]):
            return f'Did you mean "text" by {quoted(key)}?'
    return None


def _meant_label(fields: Mapping[str, Any]) -> str:
    for key in fields:
        close = get_close_matches(key.lower(), _LABEL_WORDS, n=1)
        if close:
            meant = _LABEL_WORDS[close[0]]
            return f'Did you mean "{meant}" by {quoted(key)}? {_LABEL_FORMS}'
    return _LABEL_FORMS


def _write_lines(write: Callable[[bytes], object], rows: Iterable[Mapping[str, Any]]) -> int:
    number = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, default=_plain)
        # A lone surrogate, kept from the input, is written as JSON's own escape: \ud800.
        write(line.encode("utf-8", errors="backslashreplace") + b"\n")
        number += 1
    return number


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
