"""From the rows of a file to records, by the columns that were chosen."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from trfcli_pipeline.data.formats.rows import LABEL_KEYS, BadRowError, RawFile, quoted
from trfcli_pipeline.data.reading.cell_values import is_missing, is_yes, kind_of
from trfcli_pipeline.data.reading.columns import Columns
from trfcli_pipeline.data.reading.label_values import LabelValues
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.data.wording import enumeration

SHAPE = '{"text": ..., "label": ...}'
SKIP = "--skip-unlabeled leaves such records out"
LABEL_FORMS = 'Labels go in "label", "labels" or "cats"'
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
_MOST_SEEN = 10_000


class RowReader:
    """Converts rows of a file to records.

    Args:
        columns: The columns to read.
        sample: The first rows, by which it is decided what the values of labels mean.
        file: The file.
    """

    def __init__(
        self, columns: Columns, sample: Sequence[Mapping[str, Any]], file: RawFile
    ) -> None:
        self.columns = columns
        self.file = file
        self._values: dict[str, LabelValues] = {}
        self._are_lists: set[str] = set()
        # What the cells of a single column mean: most occur often.
        self._seen: dict[str, tuple[dict[str, float], bool]] = {}
        self._crosses: set[str] = set()
        if not file.labeled:
            return
        if columns.one_hot:
            for column in columns.labels:
                cells = {row.get(column) for row in sample if not is_missing(row.get(column))}
                if not any(map(_is_no, cells)):
                    self._crosses.add(column)
            return
        for column in columns.labels:
            values = [row[column] for row in sample if column in row]
            self._values[column] = LabelValues(column, values, file, chosen=columns.chosen)
            if (
                column in ("labels", "cats")
                or self._values[column].separator
                or any(isinstance(value, list) for value in values)
            ):
                # An empty cell says that no label applies.
                self._are_lists.add(column)

    def record(self, row: Mapping[str, Any], place: int) -> Record:
        """Convert a row.

        Raises:
            BadRowError: It has no text, or its labels can't be used.
        """
        text = self._text(row)
        file, unit = self.file.name, self.file.place
        if not self.file.labeled:
            return Record(text, None, place, dict(row), file=file, unit=unit)
        cell = row.get(self.columns.labels[0]) if len(self.columns.labels) == 1 else None
        if isinstance(cell, str) and cell in self._seen:
            cats, partial = self._seen[cell]
            return Record(text, dict(cats), place, partial=partial, file=file, unit=unit)
        found, partial = self._cats(row)
        cats = {without_surrogates(label): value for label, value in found.items()}
        if isinstance(cell, str) and len(self._seen) < _MOST_SEEN:
            self._seen[cell] = cats, partial
        return Record(text, dict(cats), place, partial=partial, file=file, unit=unit)

    def _text(self, row: Mapping[str, Any]) -> str:
        columns = self.columns.text
        if len(columns) > 1:
            parts = [str(row[each]).strip() for each in columns if not is_missing(row.get(each))]
            if parts:
                return without_surrogates(self.columns.joiner.join(parts))
        column = columns[0]
        if column not in row:
            raise BadRowError(
                f"the record has no {quoted(column)} ({_keys(row)})",
                advice=_meant_text(row),
                lacks="text" if self.file.columns is not None else None,
            )
        text = row[column]
        if not isinstance(text, str):
            if is_missing(text):
                raise BadRowError(
                    f"{quoted(column)} is {kind_of(text)}, not a string",
                    advice=SKIP,
                    lacks="text",
                )
            advice = "Put it in quotes, or remove the record"
            raise BadRowError(f"{quoted(column)} is {kind_of(text)}, not a string", advice=advice)
        return without_surrogates(text)

    def _cats(self, row: Mapping[str, Any]) -> tuple[dict[str, float], bool]:
        columns = self.columns.labels
        if self.columns.one_hot:
            cells = {column: row[column] for column in columns if not is_missing(row.get(column))}
            cats = {column: float(is_yes(cell) or False) for column, cell in cells.items()}
            # A blank cell is a no in a column of crosses.
            cats |= {column: 0.0 for column in self._crosses if column not in cells}
            return cats, len(cats) < len(columns)
        given = {
            column: row[column]
            for column in columns
            if not self._values[column].is_missing(row.get(column))
        }
        if not given:
            if any(column in row and column in self._are_lists for column in columns):
                return {}, False
            raise self._no_label(row)
        if given.keys() == {"cats", "labels"}:
            return self._annotated(given), False
        found = {column: self._one_cats(column, value) for column, value in given.items()}
        if len(found) > 1 and not self.columns.chosen:
            return self._agreeing(found), False
        union = {label: value for cats in found.values() for label, value in cats.items()}
        return union, "cats" in found

    def _one_cats(self, column: str, value: Any) -> dict[str, float]:
        values = self._values[column]
        cats = values.cats(value)
        if column == "cats" and not _is_scores(value):
            raise BadRowError(
                f'"cats" is {kind_of(value)}, not an object with a number for each label'
            )
        return cats or {}

    def _annotated(self, given: Mapping[str, Any]) -> dict[str, float]:
        """A record written by `trf annotate`: `labels` names the labels of `cats` that apply."""
        scores, applying = (self._one_cats(column, given[column]) for column in ("cats", "labels"))
        unknown = sorted(applying.keys() - scores.keys())
        if unknown:
            problem = f'"labels" contains {quoted(unknown[0])}, but "cats" has no value for it'
            raise BadRowError(problem, advice="Keep one of them")
        return {**dict.fromkeys(scores, 0.0), **applying}

    def _agreeing(self, found: Mapping[str, dict[str, float]]) -> dict[str, float]:
        """The labels of a record with "label" and "labels" that say the same."""
        smaller, larger = sorted(found.values(), key=len)[0], sorted(found.values(), key=len)[-1]
        if "cats" in found or not smaller.keys() <= larger.keys():
            both = " and ".join(quoted(column) for column in list(found)[:2])
            raise BadRowError(
                f"labels are given in both {both}", advice="Keep one of them, or use --label-column"
            )
        return larger

    def _no_label(self, row: Mapping[str, Any]) -> BadRowError:
        empty = [column for column in self.columns.labels if column in row]
        if empty:
            value = row[empty[0]]
            match value:
                case str():
                    found = f"is {quoted(value.strip())}" if value.strip() else "is empty"
                case float() if math.isnan(value):
                    found = "is NaN"
                case int() | float():
                    found = f"is {value:g}, which stands for no label"
                case _:
                    found = f"is {kind_of(value)}"
            return BadRowError(f"{quoted(empty[0])} {found}", lacks="label")
        others = {key: value for key, value in row.items() if key not in self.columns.text}
        return BadRowError(
            f"the record has no labels ({_keys(others)})",
            advice=_meant_label(others) if others else None,
            lacks="label",
        )


def as_fields(row: Any) -> dict[str, Any]:
    """The keys of a row, which is an object or spaCy's pair of a text and annotations.

    Raises:
        BadRowError: It is neither.
    """
    match row:
        case BadRowError():
            raise row
        case dict():
            return row
        case [text, dict() as annotations]:
            return {**annotations, "text": text}
    pair = '["text", {"cats": {...}}]'
    advice = f"A record is {SHAPE} or {pair}"
    raise BadRowError(f"the record is {kind_of(row)}, not an object or pair", advice=advice)


def _is_no(cell: Any) -> bool:
    return is_yes(cell) is False


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, str | list) and bool(value))


def _keys(fields: Mapping[str, Any]) -> str:
    keys = enumeration([quoted(key) for key in fields])
    return f"its keys: {keys}" if keys else "it has no other keys"


def _meant_text(fields: Mapping[str, Any]) -> str:
    for key in fields:
        if get_close_matches(key.lower(), ["text", "texts"]):
            return f'Did you mean "text" instead of {quoted(key)}?'
    return f"A record is {SHAPE}"


def _meant_label(fields: Mapping[str, Any]) -> str:
    for key in fields:
        close = get_close_matches(key.lower(), _LABEL_WORDS, n=1)
        if close and key not in LABEL_KEYS:
            meant = _LABEL_WORDS[close[0]]
            return f'Did you mean "{meant}" instead of {quoted(key)}? {LABEL_FORMS}'
    return LABEL_FORMS
