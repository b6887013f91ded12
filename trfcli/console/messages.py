"""Messages on stderr. With --quiet, only warnings and errors are shown."""

import re
import sys
from typing import NamedTuple

import typer

from trfcli.console.settings import settings
from trfcli.console.streams import can_encode, encodable, has_color, terminal_width
from trfcli.console.text import NO_BREAK, printable, wrap

_INDENT = "  "
# A command at the end of a line stays on one line, because people copy it. So does a percentage.
_UNBREAKABLE = re.compile(r"(?<=: )trf .+$|\d %")


class _Symbol(NamedTuple):
    character: str
    fallback: str  # where the stream can't encode the character
    color: str


_GOOD = _Symbol("✔", "[+]", typer.colors.GREEN)
_INFO = _Symbol("ℹ", "[i]", typer.colors.BLUE)
_WARN = _Symbol("⚠", "[!]", typer.colors.YELLOW)
_FAIL = _Symbol("✘", "[x]", typer.colors.RED)


def good(message: str) -> None:
    """Report something that was done."""
    if not settings.quiet:
        _message(_GOOD, message)


def info(message: str) -> None:
    """Report a decision, or something worth knowing."""
    if not settings.quiet:
        _message(_INFO, message)


def warn(message: str) -> None:
    """Report something that the user may not want."""
    _message(_WARN, message)


def fail(message: str, *, hint: str | None = None) -> None:
    """Report an error, with the lines of its hint below it."""
    _message(_FAIL, message)
    for line in (hint or "").splitlines():
        _write(_INDENT, line)


def hint(message: str) -> None:
    """Say what to do next, below the message that this belongs to."""
    if not settings.quiet:
        _write(_INDENT, message)


def write_line(line: str) -> None:
    """Write a line to stderr, above a progress bar if one is shown."""
    line = encodable(line, sys.stderr)
    tqdm_module = sys.modules.get("tqdm")
    if tqdm_module is None:
        print(line, file=sys.stderr, flush=True)
    else:
        tqdm_module.tqdm.write(line, file=sys.stderr)


def _message(symbol: _Symbol, message: str) -> None:
    shown = symbol.character if can_encode(symbol.character, sys.stderr) else symbol.fallback
    if has_color(sys.stderr):
        shown = typer.style(shown, fg=symbol.color)
    _write(f"{shown} ", message)


def _write(prefix: str, message: str) -> None:
    """Wrap a message at the width of the terminal, with a hanging indent."""
    message = printable(message)
    lines = [message]
    if sys.stderr.isatty():
        message = _UNBREAKABLE.sub(lambda match: match[0].replace(" ", NO_BREAK), message)
        lines = wrap(message, terminal_width() - len(_INDENT), break_words=False)
    for number, line in enumerate(lines):
        write_line(f"{_INDENT if number else prefix}{line}")
