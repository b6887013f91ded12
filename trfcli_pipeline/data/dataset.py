"""What a user calls a data set: files, and what they say about the layout of them."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from trfcli_pipeline.errors import ArgumentError

STDIN = "-"
HUB = "hf://"
QUOTINGS = ("minimal", "backslash", "none")
_ESCAPED = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The layout of a data file. What isn't given is guessed from its content.

    Attributes:
        text_column: Columns (or keys) with the text. Several are joined by an empty line.
        label_column: Columns with the labels. Several are either one label each, with 0 or 1 in
            their cells, or have labels in their cells.
        label_separator: What separates the labels in a cell; "" or "none" if a cell is one label.
        delimiter: What separates the cells of a table.
        encoding: Encoding of a text file, by Python's names.
        quoting: How a table quotes cells: "minimal" (a quote inside is doubled), "backslash" (it
            follows a backslash) or "none" (quotes are part of the text).
        skip_unlabeled: Whether to leave out records without a text or a label.

    Raises:
        ArgumentError: A value can't be used.
    """

    text_column: tuple[str, ...] = ()
    label_column: tuple[str, ...] = ()
    label_separator: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quoting: str | None = None
    skip_unlabeled: bool = False

    def __post_init__(self) -> None:
        if self.label_separator == "none":
            object.__setattr__(self, "label_separator", "")
        if self.delimiter is not None:
            delimiter = _ESCAPED.get(self.delimiter.lower(), self.delimiter)
            object.__setattr__(self, "delimiter", delimiter)
            if len(delimiter) != 1 or delimiter in '\r\n"':
                raise ArgumentError(
                    "--delimiter: a single character is needed",
                    hint='Such as ";", or "tab" for a tab',
                )
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except (LookupError, ValueError) as error:
                raise ArgumentError(
                    f"--encoding: Python knows no text encoding {self.encoding!a}",
                    hint="Such as utf-8, utf-16, cp1252 or latin-1",
                ) from error
        if self.quoting is not None and self.quoting not in QUOTINGS:
            raise ArgumentError(f"--quoting: {self.quoting!a} isn't one of {', '.join(QUOTINGS)}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The options among the settings of a config, where a single column may be a string.

        Raises:
            ArgumentError: A value can't be used.
        """
        given = {each.name: settings[each.name] for each in fields(cls) if each.name in settings}
        for name in ("text_column", "label_column"):
            columns = given.get(name) or ()
            given[name] = (columns,) if isinstance(columns, str) else tuple(columns)
        return cls(**given)

    def completed(self, other: Self) -> Self:
        """These options, with those of another in place of what isn't given."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        missing = {name for name, value in given.items() if value in (None, (), False)}
        return replace(self, **{name: getattr(other, name) for name in missing})


DEFAULT_OPTIONS = ReadingOptions()


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files with texts, as a user names them.

    Attributes:
        sources: "-" for JSONL on stdin, a path, a pattern such as "data/*.csv", a directory with
            data files or with a directory of texts for each class, "hf://datasets/user/name", or
            several of these. After "#" may follow the part of a file: "book.xlsx#Sheet2".
        options: The layout of the files.
    """

    sources: tuple[str, ...]
    options: ReadingOptions = DEFAULT_OPTIONS

    @classmethod
    def named(cls, source: str) -> Self:
        """The data set that is called by one name."""
        return cls((source,))

    @classmethod
    def joined(cls, parts: "Iterable[DataSet]") -> Self:
        """One data set of all files of several, with the options of the first."""
        parts = list(parts)
        return cls(tuple(source for part in parts for source in part.sources), parts[0].options)

    def __str__(self) -> str:
        """Its name in messages."""
        return ", ".join("stdin" if each == STDIN else each for each in self.sources)

    @property
    def is_stdin(self) -> bool:
        """Whether it can be read only once."""
        return STDIN in self.sources

    def paths(self) -> list[Path]:
        """The existing files and directories that it names: no output may be one of them."""
        return [path for source in self.sources for path in _paths(source)]

    def size(self) -> int:
        """Total size of its files on disk, in bytes, as far as they are known."""
        return sum(path.stat().st_size for path in self.paths())


DataSource = str | Path | DataSet


def as_dataset(source: DataSource) -> DataSet:
    """The data set that a path names, which is read with the default options."""
    return source if isinstance(source, DataSet) else DataSet((str(source),))


def split_part(name: str) -> tuple[str, str | None]:
    """Separate the part of a file from its path, as in "book.xlsx#Sheet2"."""
    path, mark, part = name.rpartition("#")
    return (path, part) if mark and path and not os.path.lexists(name) else (name, None)


def matches(name: str) -> list[Path] | None:
    """The files that a pattern matches; None if the name isn't a pattern."""
    if os.path.lexists(name) or not glob.has_magic(name):
        return None
    return [Path(path) for path in sorted(glob.glob(name, recursive=True))]


def _paths(source: str) -> list[Path]:
    if source == STDIN or source.startswith(HUB):
        return []
    found = matches(source)
    if found is None:
        path, _ = split_part(source)
        found = [Path(path)] if os.path.lexists(path) else []
    return found
