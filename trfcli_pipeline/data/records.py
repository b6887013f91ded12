"""Read labeled and plain texts: from the raw rows of a file to validated records."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.formats import STDIN, open_rows, place_name
from trfcli_pipeline.data.formats.rows import LABEL_KEYS, BadRowError, quoted, shortened
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

# A label applies if its value is at least this: wherever labels are counted, scored or compared.
# A classifier is trained on the values themselves, as probabilities.
GOLD_THRESHOLD = 0.5

_SHAPE = '{"text": ..., "label": ...}'
_LABEL_FORMS = 'Labels go in "label", "labels" or "cats"'
# Likely misnomers, and the key that is meant.
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
        text: The text, without lone surrogates.
        cats: A value from 0 to 1 for each given label. None if the labels weren't read.
        line: Where the record starts, counted from 1: the line, or the row of a Parquet file or
            the doc of a DocBin.
        extra: The other keys, as they were in the file.
        partial: Whether labels missing from `cats` are unknown, as in `{"cats": ...}`. With
            `{"label": ...}` and `{"labels": ...}` they don't apply.
    """

    text: str
    cats: dict[str, float] | None
    line: int
    extra: dict[str, Any] = field(default_factory=dict)
    partial: bool = False

    @property
    def labels(self) -> frozenset[str]:
        """The labels that apply: those with a value of at least 0.5."""
        cats = self.cats or {}
        return frozenset(label for label, value in cats.items() if value >= GOLD_THRESHOLD)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that can't be used.

    Attributes:
        line: Where it starts, as in `Record`.
        reason: What is wrong.
        advice: What to do about it.
        text: Its text, if that could be read.
    """

    line: int
    reason: str
    advice: str | None = None
    text: str | None = None


def read_records(path: Path | str, *, labeled: bool) -> list[Record]:
    """Read all records of a data file, in order.

    Args:
        path: A .jsonl, .json, .csv, .tsv, .parquet, .spacy or .txt file, optionally with .gz;
            "-" is JSONL on stdin.
        labeled: Whether every record must have labels. If not, labels aren't read: they stay in
            `Record.extra` with the other keys.

    Raises:
        DataError: The file can't be read, has no records, or has bad records. The message then
            describes the first bad record, and the hint counts them all.
    """
    return list(iter_records(path, labeled=labeled))


def iter_records(path: Path | str, *, labeled: bool) -> Iterator[Record]:
    """Read a data file record by record, without loading all of it into memory.

    A missing file or unknown format is an error at once. After a bad record nothing more is
    yielded; the rest of the file is only read to count the bad records. See `read_records`.
    """
    name, format, rows = open_rows(path, labeled=labeled)
    return _checked(name, format.place, _records(rows, labeled=labeled))


def iter_all_records(path: Path | str, *, labeled: bool) -> Iterator[Record | BadRecord]:
    """Read a data file record by record, with a `BadRecord` in place of each bad one.

    Raises:
        DataError: The file can't be read. This is an error at once if it is missing, or its format
            unknown.
    """
    _, _, rows = open_rows(path, labeled=labeled)
    return _records(rows, labeled=labeled)


def where(path: Path | str | None, first: int, last: int | None = None) -> str:
    """The location of records, for messages: "data.jsonl, line 3", "stdin, lines 3 to 9".

    Texts that aren't from a file are "text 3", "texts 3 to 9".
    """
    name, place = "", "text"
    if path is not None:
        name, place = "stdin, " if str(path) == STDIN else f"{path}, ", place_name(path)
    if last is None or last == first:
        return f"{name}{place} {first}"
    return f"{name}{place}s {first} to {last}"


def _records(rows: Iterator[tuple[int, Any]], *, labeled: bool) -> Iterator[Record | BadRecord]:
    for line, row in rows:
        try:
            yield _to_record(row, line, labeled=labeled)
        except BadRowError as error:
            yield BadRecord(line, error.reason, error.advice)


def _checked(name: str, place: str, records: Iterator[Record | BadRecord]) -> Iterator[Record]:
    number = 0
    bad: list[int] = []
    first: BadRecord | None = None
    for record in records:
        number += 1
        if isinstance(record, BadRecord):
            first = first or record
            bad.append(record.line)
        elif first is None:
            yield record
    if first is not None:
        message = f"{name}, {place} {bad[0]}: {first.reason}"
        raise DataError(message, hint=_hint(first, place, bad, number))
    if number == 0:
        raise DataError(f"{name}: no records in the file", hint=f"A record is {_SHAPE}")


def _hint(first: BadRecord, place: str, bad: list[int], number: int) -> str | None:
    parts = [first.advice] if first.advice else []
    if len(bad) > 1:
        places = enumeration([str(each) for each in bad])
        parts.append(f"{len(bad):,} of {number:,} records are invalid: {place}s {places}")
    return ". ".join(parts) or None


def _to_record(row: Any, line: int, *, labeled: bool) -> Record:
    fields = _fields(row)
    if "text" not in fields:
        raise BadRowError(f'the record has no "text" ({_keys(fields)})', advice=_meant_text(fields))
    text = fields.pop("text")
    if not isinstance(text, str):
        advice = "Put it in quotes, or remove the record"
        raise BadRowError(f'"text" is {_kind(text)}, not a string', advice=advice)
    text = without_surrogates(text)
    if not labeled:
        return Record(text, None, line, fields)
    given = [key for key in LABEL_KEYS if key in fields]
    if not given:
        raise BadRowError(
            f"the record has no labels ({_keys(fields)})", advice=_meant_label(fields)
        )
    if given == ["cats", "labels"]:
        return _annotated(text, line, fields)
    if len(given) > 1:
        both = " and ".join(f'"{key}"' for key in given[:2])
        raise BadRowError(f"labels are given in both {both}", advice="Keep one of them")
    key = given[0]
    cats = _cats(key, fields.pop(key))
    return Record(text, cats, line, fields, partial=key == "cats")


def _annotated(text: str, line: int, fields: dict[str, Any]) -> Record:
    """A record written by `trf annotate`: `labels` names the labels of `cats` that apply."""
    scores, applying = (_cats(key, fields.pop(key)) for key in ("cats", "labels"))
    unknown = sorted(applying.keys() - scores.keys())
    if unknown:
        problem = f'"labels" contains {quoted(unknown[0])}, but "cats" has no value for it'
        raise BadRowError(problem, advice="Keep one of them")
    return Record(text, {**dict.fromkeys(scores, 0.0), **applying}, line, fields)


def _fields(row: Any) -> dict[str, Any]:
    match row:
        case BadRowError():
            raise row
        case dict():
            return dict(row)
        case [text, dict() as annotations]:
            return {**annotations, "text": text}
    pair = '["text", {"cats": {...}}]'
    advice = f"A record is {_SHAPE} or {pair}"
    raise BadRowError(f"the record is {_kind(row)}, not an object or pair", advice=advice)


def _cats(key: str, value: Any) -> dict[str, float]:
    match key, value:
        case "label", str():
            return {_label_name(key, value): 1.0}
        case "label", _:
            advice = None
            if isinstance(value, list):
                advice = 'For several labels, use "labels"'
            elif isinstance(value, int | float):
                advice = "Use the name of the label instead of its number"
            raise BadRowError(f'"label" is {_kind(value)}, not a string', advice=advice)
        case "labels", list():
            return {_label_name(key, label): 1.0 for label in value}
        case "labels", _:
            advice = 'For one label, use "label"' if isinstance(value, str) else None
            raise BadRowError(f'"labels" is {_kind(value)}, not a list of strings', advice=advice)
        case _, dict():
            return {_label_name(key, name): _value(name, number) for name, number in value.items()}
    raise BadRowError(f'"cats" is {_kind(value)}, not an object with a number for each label')


def _label_name(key: str, label: Any) -> str:
    if not isinstance(label, str):
        raise BadRowError(f'"{key}" contains {_kind(label)}; labels are strings')
    if not label.strip():
        raise BadRowError(f'a label in "{key}" has an empty name')
    return without_surrogates(label)


def _value(label: str, value: Any) -> float:
    number = isinstance(value, int | float)
    # NaN fails both comparisons.
    if not number or not 0 <= value <= 1:
        found = shortened(str(value)) if number else _kind(value)
        raise BadRowError(
            f'the value of {quoted(label)} in "cats" is {found}, not a number from 0 to 1'
        )
    return float(value)


def _kind(value: Any) -> str:
    """JSON's name for the type of a value, or Python's if JSON has no such type."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    for types, name in _KINDS:
        if isinstance(value, types):
            return name
    return f"of type {type(value).__name__}"


def _keys(fields: Mapping[str, Any]) -> str:
    keys = enumeration([quoted(key) for key in fields])
    return f"its keys: {keys}" if keys else "it has no other keys"


def _meant_text(fields: Mapping[str, Any]) -> str:
    for key in fields:
        if get_close_matches(key.lower(), ["text", "texts"]):
            return f'Did you mean "text" instead of {quoted(key)}?'
    return f"A record is {_SHAPE}"


def _meant_label(fields: Mapping[str, Any]) -> str:
    for key in fields:
        close = get_close_matches(key.lower(), _LABEL_WORDS, n=1)
        if close:
            meant = _LABEL_WORDS[close[0]]
            return f'Did you mean "{meant}" instead of {quoted(key)}? {_LABEL_FORMS}'
    return _LABEL_FORMS
