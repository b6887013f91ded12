"""Corrections of labels: a file in which a person changes the labels of doubtful texts."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.files import require_file, similar_file
from trfcli_pipeline.data.formats.json import decode_line
from trfcli_pipeline.data.formats.rows import BadRowError, bounded_lines, lines
from trfcli_pipeline.data.reading.sources import open_path
from trfcli_pipeline.data.records import Record, where
from trfcli_pipeline.data.wording import agree, enumeration, plural
from trfcli_pipeline.errors import DataError

Labels = frozenset[str]

# The keys that a person changes: one label, or several.
_KEYS = ("label", "labels")


@dataclass(frozen=True, slots=True)
class Correction:
    """What a line of the file says about a text.

    Attributes:
        text: The text.
        given: The labels that it has in the data.
        labels: The labels that it should have; None if it should be left out.
        line: The line of the file, counted from 1.
    """

    text: str
    given: Labels
    labels: Labels | None
    line: int

    @property
    def is_change(self) -> bool:
        return self.labels != self.given


@dataclass
class Corrections:
    """The corrections in a file, and how often each was applied.

    Attributes:
        path: The file.
        entries: The corrections by text and given labels.
        n_corrected: Number of records whose labels were changed so far.
        n_dropped: Number of records that were left out so far.
        n_applied: Number of corrections that the data have already, known after `check`.
    """

    path: Path
    entries: dict[tuple[str, Labels], Correction]
    n_corrected: int = 0
    n_dropped: int = 0
    n_applied: int = 0
    _used: set[tuple[str, Labels]] = field(default_factory=set)
    # Records that have other labels than were given when their correction was written.
    _other: dict[str, list[Record]] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "Corrections":
        """Read a file that `trf check` wrote and a person edited.

        Raises:
            DataError: The file can't be read, a line isn't a correction, or two lines contradict
                each other.
        """
        entries: dict[tuple[str, Labels], Correction] = {}
        for entry in _read_lines(path):
            key = (entry.text, entry.given)
            other = entries.setdefault(key, entry)
            if other.labels != entry.labels:
                raise DataError(
                    f"{path}, lines {other.line} and {entry.line}: the same text is corrected to "
                    f"{_phrase(other.labels)} and to {_phrase(entry.labels)}",
                    hint="Correct or remove one of the lines",
                )
        return cls(path, entries)

    def apply(self, records: Iterator[Record]) -> Iterator[Record]:
        """Yield records with their labels corrected, without those that are dropped."""
        texts = {text for text, _ in self.entries}
        for record in records:
            self._known.update(record.cats or ())
            if record.text not in texts:
                yield record
                continue
            key = (record.text, record.labels)
            entry = self.entries.get(key)
            if entry is None:
                self._other.setdefault(record.text, []).append(record)
                yield record
                continue
            self._used.add(key)
            if entry.labels is None:
                self.n_dropped += 1
            elif entry.is_change:
                self.n_corrected += 1
                yield replace(record, cats=dict.fromkeys(sorted(entry.labels), 1.0), partial=False)
            else:
                yield record

    def check(self, *, data: str) -> None:
        """Check that all corrections could be applied, after `apply`.

        Args:
            data: Name of the data, for messages.

        Raises:
            DataError: A text isn't in the data, or has other labels there; a label isn't known.
        """
        for key, entry in self.entries.items():
            place = f"{self.path}, line {entry.line}"
            for label in sorted((entry.labels or frozenset()).difference(self._known)):
                close = get_close_matches(label, sorted(self._known), n=1)
                advice = f"Did you mean {close[0]}? " if close else ""
                raise DataError(
                    f"{place}: the label {label} isn't in {data}",
                    hint=f"{advice}Known labels: {enumeration(sorted(self._known))}",
                )
            if key in self._used:
                continue
            others = self._other.get(entry.text)
            if others is None:
                raise DataError(
                    f"{place}: the text isn't in {data}",
                    hint="Name the data that trf check read, or remove the line",
                )
            # Someone may have corrected the data as well.
            if all(record.labels != entry.labels for record in others):
                raise DataError(
                    f"{place}: the text has {_phrase(others[-1].labels)} in {where(others[-1])}, "
                    f"not {_phrase(entry.given)}",
                    hint="Run trf check again: the data have changed since",
                )
            self.n_applied += 1

    @property
    def summary(self) -> str:
        """What the corrections changed, as a sentence without a full stop."""
        if not self.entries:
            return f"No label was corrected: {self.path.name} is empty"
        parts = []
        if self.n_corrected:
            parts.append(f"{plural(self.n_corrected, 'label')} corrected")
        if self.n_dropped:
            parts.append(f"{plural(self.n_dropped, 'text')} left out")
        if self.n_applied:
            has = plural(self.n_applied, "text", ("has", "have"))
            parts.append(f"{has} the corrected labels already")
        if not parts:
            number = plural(len(self.entries), "text", ("keeps its label", "keep their labels"))
            return f"No label was corrected: {number} ({self.path.name})"
        return f"{', '.join(parts)} ({self.path.name})"


_MISSING_HINT = "Write one: trf check DATA --output corrections.jsonl"
_HINT = 'Each line is one text: {"text": ..., "given": ..., "label": ...}, as trf check writes it'


def _read_lines(path: Path) -> Iterator[Correction]:
    advice = "\n".join(filter(None, (similar_file(path), _MISSING_HINT)))
    require_file(path, DataError, hint=advice)
    with open_path(path) as file:
        for number, line in lines(bounded_lines(file, str(path))):
            if isinstance(line, BadRowError):
                reason = f"{path}, line {number}: {line.reason}"
                raise DataError(reason, hint="Save the file as UTF-8")
            if not line.strip():
                continue
            row = decode_line(line, _HINT)
            if isinstance(row, BadRowError):
                raise DataError(f"{path}, line {number}: {row.reason}", hint=row.advice)
            yield _correction(row, number, path)


def _correction(row: Any, line: int, path: Path) -> Correction:
    place = f"{path}, line {line}"
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "given" not in row:
        raise DataError(f"{place}: not a correction of trf check", hint=_HINT)
    keys = [key for key in _KEYS if key in row]
    if len(keys) != 1:
        found = "both" if keys else "neither"
        raise DataError(f"{place}: {found} of the keys label and labels", hint=_HINT)
    given = _labels(row["given"], f'{place}: "given"')
    value = row[keys[0]]
    labels = None if value is None else _labels(value, f'{place}: "{keys[0]}"')
    if given is None or (keys[0] == "label" and labels is not None and len(labels) != 1):
        raise DataError(f"{place}: a text needs one label", hint="Write null to leave the text out")
    return Correction(row["text"], given, labels, line)


def _labels(value: Any, place: str) -> Labels:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise DataError(f"{place}: not a label or a list of labels", hint=_HINT)
    # Labels are read without whitespace at their ends from other files, too.
    return frozenset(each.strip() for each in values if each.strip())


def _phrase(labels: Labels | None) -> str:
    if labels is None:
        return "nothing (left out)"
    number = agree(len(labels), "the label", "the labels")
    return f"{number} {', '.join(sorted(labels))}" if labels else "no label"
