"""What a user can say about the layout of a data file."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from trfcli_pipeline.errors import ArgumentError

QUOTINGS = ("minimal", "backslash", "none")
_ESCAPED = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """The layout of a data file. What isn't given is guessed from its content.

    Attributes:
        text_column: Columns (or keys) with the text. Several are joined by an empty line.
        label_column: Columns with the labels. Several are either one label each, with 0 or 1 in
            their cells, or have labels in their cells.
        label_separator: What separates the labels in a cell; "" if a cell is one label.
        delimiter: What separates the cells of a table.
        encoding: Encoding of a text file, by Python's names.
        quoting: How a table quotes cells: "minimal" (`"` around a cell, doubled inside), "backslash"
            (`\\"` inside) or "none" (quotes are part of the text).
        skip_unlabeled: Whether to leave out records without a text or a label.

    Raises:
        ArgumentError: A value can't be used.
    """

    text_column: Sequence[str] = ()
    label_column: Sequence[str] = ()
    label_separator: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    quoting: str | None = None
    skip_unlabeled: bool = False

    def __post_init__(self) -> None:
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
                is_text = codecs.lookup(self.encoding)._is_text_encoding
            except (LookupError, ValueError):
                is_text = False
            if not is_text:
                raise ArgumentError(
                    f"--encoding: Python knows no text encoding {self.encoding!a}",
                    hint="Such as utf-8, utf-16, cp1252 or latin-1",
                )
        if self.quoting is not None and self.quoting not in QUOTINGS:
            raise ArgumentError(
                f"--quoting: {self.quoting!a} isn't one of {', '.join(QUOTINGS)}", hint=None
            )


DEFAULT_OPTIONS = ReadingOptions()
