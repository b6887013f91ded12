"""Texts with or without labels, as they are read from data files."""

from dataclasses import dataclass, field
from typing import Any, Literal

# What a record consists of.
Part = Literal["text", "label"]
# A label applies if its value is at least this: wherever labels are counted, scored or compared.
# A classifier is trained on the values themselves, as probabilities.
GOLD_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Record:
    """One text of a data set.

    Attributes:
        text: The text, without lone surrogates.
        cats: A value from 0 to 1 for each given label. None if the labels weren't read.
        line: Where the record starts, counted from 1: see `unit`.
        row: If labels weren't read: all columns or keys as they were in the file, in their order.
        partial: Whether labels missing from `cats` are unknown, as in `{"cats": ...}`. With
            `{"label": ...}` and `{"labels": ...}` they don't apply.
        file: Name of the file that it is from.
        unit: What `line` counts: "line", "row" (of a Parquet file), "doc" (of a DocBin) or "record"
            (of a list that is on one line); "" if the file is this text.
    """

    text: str
    cats: dict[str, float] | None
    line: int
    row: dict[str, Any] = field(default_factory=dict)
    partial: bool = False
    file: str = field(default="", compare=False)
    unit: str = field(default="line", compare=False)

    @property
    def labels(self) -> frozenset[str]:
        """The labels that apply: those with a value of at least 0.5."""
        cats = self.cats or {}
        return frozenset(label for label, value in cats.items() if value >= GOLD_THRESHOLD)

    @property
    def place(self) -> str:
        """Where the record is in its file: "line 3"."""
        return f"{self.unit} {self.line}" if self.unit else self.file

    def bad(self, reason: str, advice: str | None = None) -> "BadRecord":
        """The same record as one that can't be used."""
        return BadRecord(self.line, reason, advice, self.text, self.file, self.unit)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that can't be used.

    Attributes:
        line, file, unit: Where it is, as in `Record`.
        reason: What is wrong.
        advice: What to do about it.
        text: Its text, if that could be read.
        lacks: What it lacks, if nothing else is wrong with it.
    """

    line: int
    reason: str
    advice: str | None = None
    text: str | None = None
    file: str = field(default="", compare=False)
    unit: str = field(default="line", compare=False)
    lacks: Part | None = None


def where(first: Record | BadRecord, last: Record | BadRecord | None = None) -> str:
    """The location of records, for messages: "data.jsonl, line 3", "stdin, lines 3 to 9"."""
    end = first.line if last is None or last.file != first.file else last.line
    return location(first.file, first.unit, first.line, end)


def location(file: str, unit: str, first: int, last: int) -> str:
    """The location of records from one file, for messages; see `Record`.

    Texts that aren't from a file are "text 3", "texts 3 to 9".
    """
    if not unit:
        return file
    name = f"{file}, " if file else ""
    return f"{name}{unit} {first}" if first == last else f"{name}{unit}s {first} to {last}"
