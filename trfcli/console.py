"""Everything that `trf` prints.

Requested data goes to stdout, everything else to stderr. Without a terminal there are no colors and
no progress bars, only the same facts as plain lines. rich is imported where it is used, so that
`trf --help` doesn't wait for it.
"""

import codecs
import io
import os
import re
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, zip_longest
from typing import TYPE_CHECKING, Literal, TextIO

import typer

from trfcli import wording
from trfcli.status import FRAMES, StatusLine
from trfcli.streams import replace_closed_streams
from trfcli.text import NO_BREAK, printable, terminal_width, wrap

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
_NOISY_LIBRARIES = r"(torch|transformers|tokenizers|huggingface_hub)(\.|$)"
_NOTHING_CHANGED = "nothing was changed"
_INDENT = "  "
_UNLIMITED = 1_000_000  # columns: wider than any table
# In seconds: a command that takes longer says how long it took.
_LONG = 2.0
# A command at the end of a line stays on one line, because people copy it. So does a percentage.
_UNBREAKABLE = re.compile(r"(?<=: )trf .+$|\d %")
_FALLBACKS = {"✔": "[+]", "ℹ": "[i]", "⚠": "[!]", "✘": "[x]"}
# As wide as the originals, to keep columns aligned.
_FALLBACKS |= dict(zip("─━╸…×←→␣", "-=->x<>_", strict=True))
_FALLBACKS |= dict(zip(FRAMES, cycle("|/-\\")))


@dataclass
class Settings:
    """What the user asked for, what Ctrl-C would leave on disk, and the status line if shown."""

    quiet: bool = False
    debug: bool = False
    if_interrupted: str = _NOTHING_CHANGED
    status: StatusLine | None = None


settings = Settings()


def configure(*, quiet: bool, debug: bool) -> None:
    """Set up a run. A second run in the same process inherits nothing from the first."""
    settings.quiet = quiet
    settings.debug = debug
    settings.if_interrupted = _NOTHING_CHANGED
    replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="trf.fallback")


@contextmanager
def working(title: str, *, silently: bool = False) -> Iterator[None]:
    """Show what the library is doing while the block runs, and say at the end how long it took.

    Args:
        title: What to show while the library says nothing.
        silently: Whether to show nothing, as with --quiet.
    """
    start = time.perf_counter()
    if not (silently or settings.quiet):
        settings.status = StatusLine(title, start)
    try:
        yield
    finally:
        end_status()
    seconds = time.perf_counter() - start
    if not silently and seconds >= _LONG:
        hint(f"Done in {wording.duration(seconds)}")


def end_status() -> None:
    """Remove the status line for good, for a command that writes to the terminal all the time."""
    if settings.status is not None:
        settings.status.stop()
        settings.status = None


def if_interrupted(state: str) -> None:
    """Set what Ctrl-C reports from here on, such as "./model is unchanged"."""
    settings.if_interrupted = state


def silence_libraries(*, forks: bool = False) -> None:
    """Hide warnings and progress bars of other libraries. Call this before importing them.

    Variables that are already set and `python -W` take precedence.

    Args:
        forks: Whether the command starts worker processes. If so, tokenizers must not use threads,
            or every worker prints a warning. Without workers, its threads are worth keeping.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if forks:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=_NOISY_LIBRARIES)


def good(message: str) -> None:
    """Report something that was done. Not shown with --quiet."""
    if not settings.quiet:
        _write(message, "✔", typer.colors.GREEN)


def info(message: str) -> None:
    """Report a decision, or something worth knowing. Not shown with --quiet."""
    if not settings.quiet:
        _write(message, "ℹ", typer.colors.BLUE)


def hint(message: str) -> None:
    """Say what to do next, below the message that this belongs to. Not shown with --quiet."""
    if not settings.quiet:
        _write(message)


def warn(message: str) -> None:
    """Report something that the user may not want."""
    _write(message, "⚠", typer.colors.YELLOW)


def fail(message: str, *, hint: str | None = None) -> None:
    """Report an error, with the lines of its hint below it."""
    _write(message, "✘", typer.colors.RED)
    for line in (hint or "").splitlines():
        _write(line)


def _write(message: str, symbol: str = " ", color: str | None = None) -> None:
    """Wrap a message at the width of the terminal, with a hanging indent."""
    message = printable(message)
    lines = [message]
    if sys.stderr.isatty():
        message = _UNBREAKABLE.sub(lambda match: match[0].replace(" ", NO_BREAK), message)
        lines = wrap(message, terminal_width() - len(_INDENT), break_words=False)
    if color and _has_color(sys.stderr):
        symbol = typer.style(symbol, fg=color)
    for number, line in enumerate(lines):
        _write_line(f"{_INDENT if number else f'{symbol} '}{line}")


def _write_line(line: str) -> None:
    """Write a line to stderr, above the status line if there is one."""
    if settings.status is None:
        print(line, file=sys.stderr, flush=True)
    else:
        settings.status.write(line)


def _clear_status() -> None:
    if settings.status is not None:
        settings.status.clear()


def data(text: str) -> None:
    """Print a text as it is, at once."""
    _clear_status()
    print(text, flush=True)


def data_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON, without characters that a terminal would act on.

    Args:
        value: The value.
        indent: Spaces per level; None for one line.
    """
    from trfcli_pipeline.data.formats.json import escape_invisible, to_json

    data(escape_invisible(to_json(value, indent=indent)))


def data_line(*facts: str, indent: int = 1) -> None:
    """Print facts on one line.

    A terminal that is too narrow gets several lines. They break between facts, and within a fact
    only if it is wider than a line.
    """
    from rich.cells import cell_len

    facts = tuple(map(printable, facts))
    width = data_width() + 1 - indent
    lines = ["    ".join(facts)]
    if cell_len(lines[0]) > width:
        width -= 2  # the hanging indent
        whole = [fact if cell_len(fact) > width else fact.replace(" ", NO_BREAK) for fact in facts]
        lines = wrap("    ".join(whole), width, break_words=True)
    for number, line in enumerate(lines):
        data(" " * (indent + (2 if number else 0)) + line)


def data_lines(lines: "Iterable[Text]") -> None:
    """Print lines that already fit the width. Styles are shown on a terminal only."""
    console = _stdout_console()
    _clear_status()
    for line in lines:
        console.print(line, soft_wrap=True)


def data_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: int = 1,
    styles: Sequence[str] = (),
) -> None:
    """Print a table.

    On a narrow terminal, the columns move closer together, and cells wrap if they have to.
    Without a terminal, no cell wraps.

    Args:
        left: The number of columns that are left-aligned. The others are right-aligned.
        styles: For each row a style of rich.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        padding=(0, 3, 0, 0),
        pad_edge=False,
        show_header=any(headers),
        header_style="bold",
    )
    for number, header in enumerate(headers):
        justify: Literal["left", "right"] = "left" if number < left else "right"
        table.add_column(Text(printable(header)), justify=justify, overflow="fold")
    for row, style in zip_longest(rows, styles):
        table.add_row(*(Text(printable(cell)) for cell in row), style=style)
    console = _stdout_console()
    console.width = data_width()
    # By default, rich limits what it measures to the width of the console.
    unbounded = console.options.update(max_width=_UNLIMITED)
    if console.measure(table, options=unbounded).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    with console.capture() as capture:
        console.print(table)
    data("\n".join(f" {line}".rstrip() for line in capture.get().splitlines()))


def data_width() -> int:
    """Return the columns that a table may take, after a margin of one."""
    return terminal_width() - 1 if sys.stdout.isatty() else _UNLIMITED


def _stdout_console() -> "Console":
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="auto" if _has_color(sys.stdout) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def progress_row(cells: Iterable[tuple[str, int]], note: str = "") -> None:
    """Print a row of a table of results. Not shown with --quiet.

    Args:
        cells: Text and width of each cell. The text is right-aligned.
        note: Follows the row.
    """
    if not settings.quiet:
        aligned = [text.rjust(width) for text, width in cells]
        _write_line(printable(f" {'  '.join([*aligned, note])}".rstrip()))


def _has_color(stream: TextIO) -> bool:
    """Return whether to send colors to a stream. See https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _fall_back(error: UnicodeError) -> tuple[str, int]:
    """Replace a character that the encoding of a stream lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    escape = character.encode("unicode_escape").decode("ascii")
    return _FALLBACKS.get(character, escape), error.start + 1


codecs.register_error("trf.fallback", _fall_back)
