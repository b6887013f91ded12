"""What a stream can show: its width, its colors, its characters."""

import os
from typing import TextIO

UNLIMITED = 1_000_000  # columns: wider than any table

# Fallbacks for our own drawing characters. Each is as wide as the original, to keep columns
# aligned.
_ASCII_DRAWING = str.maketrans("─━╸…×←␣", "-=->x<_")


def terminal_width() -> int:
    """Return the columns of the terminal, or of $COLUMNS if set, or else 80."""
    from rich.console import Console

    return Console().width or 80


def has_color(stream: TextIO) -> bool:
    """Return whether to send colors to a stream. See https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_encode(text: str, stream: TextIO) -> bool:
    """Return whether the encoding of a stream has all characters of a text."""
    return _encoded(text, stream, errors="replace") == text


def encodable(text: str, stream: TextIO) -> str:
    """Escape the characters that the encoding of a stream lacks."""
    if can_encode(text, stream):
        return text
    return _encoded(text.translate(_ASCII_DRAWING), stream, errors="backslashreplace")


def _encoded(text: str, stream: TextIO, *, errors: str) -> str:
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, errors).decode(encoding)
