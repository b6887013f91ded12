"""Everything that `trf` prints.

Data that was asked for goes to stdout, everything else to stderr. Without a terminal there are no
colours and no bars, only the same facts as plain lines. rich, wasabi and tqdm are imported where
they are used, so that `trf --help` doesn't wait for them.
"""

import json
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from tqdm import tqdm

NOTHING_CHANGED = "nothing was changed"

# The second of each pair is what wasabi prints where the first can't be encoded.
SYMBOLS = {
    "good": ("✔", "[+]"),
    "info": ("ℹ", "[i]"),
    "warn": ("⚠", "[!]"),
    "fail": ("✘", "[x]"),
}

# What a stream gets that can't encode our own drawing. Columns stay aligned, because each of these
# is as wide as the original.
ASCII_DRAWING = str.maketrans("─━╸…×←␣", "-=->x<_")

QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
_NO_SPACE = "\ue000"  # stands in for a space where no line may end; in no printable text
_CELL = 5  # columns: a number of a narrow table, such as 0.982 or 1,410
UNLIMITED = 1_000_000  # columns: more than any table has
NOISY_LIBRARIES = r"(torch|transformers|tokenizers|huggingface_hub)(\.|$)"


@dataclass
class Settings:
    """What the user asked of this run of `trf`."""

    quiet: bool = False
    debug: bool = False
    if_interrupted: str = NOTHING_CHANGED


settings = Settings()


def configure(*, quiet: bool, debug: bool) -> None:
    """Start a run: a second one in the same process inherits nothing from the first."""
    settings.quiet = quiet
    settings.debug = debug
    settings.if_interrupted = NOTHING_CHANGED


def if_interrupted(state: str) -> None:
    """Say what Ctrl-C would leave behind from here on, as in "./model is as it was"."""
    settings.if_interrupted = state


def silence_libraries(*, forks: bool = False) -> None:
    """Keep warnings and bars of other libraries off the terminal. Call it before they are imported.

    What the user has set in the environment, or with `python -W`, stands.

    Args:
        forks: The command starts worker processes. Tokenizers then have to give up their own
            threads, or each worker prints a warning; without workers the threads are worth keeping.
    """
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if forks:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module=NOISY_LIBRARIES)


# Messages, on stderr


def good(message: str) -> None:
    """Something was done."""
    if not settings.quiet:
        _message("good", message)


def info(message: str) -> None:
    """Something was decided, or is worth knowing."""
    if not settings.quiet:
        _message("info", message)


def warn(message: str) -> None:
    """Something may not be what the user wants. Shown with --quiet too."""
    _message("warn", message)


def fail(message: str, *, hint: str | None = None) -> None:
    """Something went wrong. Shown with --quiet too, with the lines of its hint below it."""
    _message("fail", message)
    for line in (hint or "").splitlines():
        _write(_fold(line, first="  "))


def hint(message: str) -> None:
    """What to do next, below the message it belongs to."""
    if not settings.quiet:
        _write(_fold(message, first="  "))


def _message(kind: str, message: str) -> None:
    from wasabi.util import COLORS, color

    symbol, ascii_symbol = SYMBOLS[kind]
    if not can_encode(symbol, sys.stderr):
        symbol = ascii_symbol
    line = _fold(message, first=f"{symbol} ")
    if has_colour(sys.stderr):
        line = color(symbol, fg=COLORS[kind]) + line.removeprefix(symbol)
    _write(line)


def _fold(message: str, *, first: str) -> str:
    """Wrap a message between words at the terminal's width; elsewhere leave it one line."""
    message = first + printable(message)
    if not sys.stderr.isatty():
        return message
    # A command at the end of a line stays in one piece, because people copy it.
    message = re.sub(r"(?<=: )trf .+$", _unbreakable, message)
    # So does a percentage.
    message = re.sub(r"\d %", _unbreakable, message)
    folded = textwrap.fill(
        message,
        width=max(terminal_width(sys.stderr), 20),
        subsequent_indent="  ",
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return folded.replace(_NO_SPACE, " ")


def _unbreakable(match: re.Match[str]) -> str:
    return match[0].replace(" ", _NO_SPACE)


def _write(line: str) -> None:
    line = encodable(line, sys.stderr)
    tqdm_module = sys.modules.get("tqdm")
    if tqdm_module is None:
        print(line, file=sys.stderr, flush=True)
    else:
        # A message in the middle of a bar goes above it.
        tqdm_module.tqdm.write(line, file=sys.stderr)


# Progress, on stderr


def progress(total: int | None, desc: str, *, unit: str = "it") -> "tqdm[Any]":
    """A bar that is gone when the work is done; without a terminal, or with --quiet, none at all.

    Use it in a `with` statement, and call its `update(n)` and `set_postfix_str(text)`.
    """
    from tqdm import tqdm

    bar = " {desc} {percentage:3.0f}% {bar}  {n_fmt}/{total_fmt}  {elapsed} < {remaining}{postfix}"
    count = " {desc}  {n_fmt} {unit}  {elapsed}{postfix}"
    return tqdm(
        total=total,
        desc=desc,
        unit=unit,
        file=sys.stderr,
        disable=settings.quiet or not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
        bar_format=count if total is None else bar,
        ascii=" ╸━" if can_encode("╸━", sys.stderr) else " -=",
    )


class ProgressTable:
    """Rows that appear one by one, above a bar where there is one. Nothing is shown with --quiet.

    On a terminal that is too narrow, columns are closer together, and the last ones are left out.

    Args:
        columns: Header and width of each column. All cells are right-aligned.
        note: The longest note that there may be behind a row.
    """

    def __init__(self, columns: Sequence[tuple[str, int]], *, note: str = "") -> None:
        self.columns = [(header, max(width, len(header))) for header, width in columns]
        self.gap = "  "
        self.has_header = False
        room = terminal_width(sys.stderr) if sys.stderr.isatty() else UNLIMITED
        if self._width(note) > room:
            self.gap = " "
            self.columns = [(header, max(len(header), _CELL)) for header, _ in columns]
        while self._width(note) > room and len(self.columns) > 1:
            self.columns.pop()

    def _width(self, note: str) -> int:
        return len(self._row(["x" * width for _, width in self.columns], note))

    def add(self, *cells: str, note: str = "") -> None:
        """Write a row, before the first one the header. A note, such as "← best", stands behind."""
        if settings.quiet:
            return
        if not self.has_header:
            self.has_header = True
            _write(self._row([header for header, _ in self.columns], ""))
        _write(self._row(cells, note))

    def _row(self, cells: Sequence[str], note: str) -> str:
        # Cells of columns that were left out have no partner.
        pairs = zip(cells, self.columns, strict=False)
        aligned = [cell.rjust(width) for cell, (_, width) in pairs]
        return f" {self.gap.join([*aligned, note])}".rstrip()


# Data, on stdout


def data(text: str) -> None:
    """Print text that was asked for, as it is."""
    print(encodable(text, sys.stdout), file=sys.stdout)


def data_line(*facts: str, indent: int = 1) -> None:
    """Print facts that were asked for, on one line.

    On a terminal it fits the width: on several lines, divided between facts, or between the words
    of one that is wider by itself.
    """
    from rich.cells import cell_len
    from rich.text import Text

    facts = tuple(map(printable, facts))
    room = data_width() + 1 - indent
    lines = ["    ".join(facts)]
    if cell_len(lines[0]) > room:
        # Further lines are further in.
        room = max(room - 2, 1)
        whole = [fact if cell_len(fact) > room else fact.replace(" ", _NO_SPACE) for fact in facts]
        wrapped = Text("    ".join(whole)).wrap(_stdout_console(), room)
        lines = [line.plain.rstrip().replace(_NO_SPACE, " ") for line in wrapped]
    for number, line in enumerate(lines):
        data(f"{' ' * (indent + 2 * min(number, 1))}{line}")


def data_json(value: Any) -> None:
    """Print a value as JSON."""
    data(json.dumps(value, ensure_ascii=False, indent=2))


def data_lines(lines: "Iterable[RenderableType]") -> None:
    """Print lines that have already been fitted to the width; styles show on a terminal only."""
    console = _stdout_console()
    with console.capture() as capture:
        for line in lines:
            console.print(line, soft_wrap=True)
    data(capture.get().removesuffix("\n"))


def data_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Print a table of strings: the first `left` columns aligned left, the others, numbers, right.

    On a terminal it fits the width, its columns closer together and its cells broken over lines
    where they have to be; elsewhere no cell ever is.
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
        justify = "left" if number < left else "right"
        table.add_column(Text(header), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = _stdout_console()
    console.width = data_width()
    # Without these options, what it takes is never more than there is.
    unbounded = console.options.update(max_width=UNLIMITED)
    if console.measure(table, options=unbounded).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    with console.capture() as capture:
        console.print(table)
    data("\n".join(f" {line}".rstrip() for line in capture.get().splitlines()))


def data_width() -> int:
    """Columns that a table may take. One is the margin."""
    return terminal_width(sys.stdout) - 1 if sys.stdout.isatty() else UNLIMITED


def _stdout_console() -> "Console":
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="auto" if has_colour(sys.stdout) else None,
        highlight=False,
        markup=False,
        emoji=False,
        width=terminal_width(sys.stdout),
    )


# What a stream can do


def terminal_width(stream: TextIO) -> int:
    """Columns of the terminal behind a stream, of $COLUMNS if set, else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    if stream.isatty():
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80


def has_colour(stream: TextIO) -> bool:
    """Whether to send colours to a stream. See https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def can_encode(text: str, stream: TextIO) -> bool:
    """Whether the encoding of a stream has all characters of a text."""
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding) == text


def encodable(text: str, stream: TextIO) -> str:
    """The text, with escapes for the characters that the encoding of a stream lacks."""
    if can_encode(text, stream):
        return text
    encoding = stream.encoding or "ascii"
    return text.translate(ASCII_DRAWING).encode(encoding, "backslashreplace").decode(encoding)


def printable(text: str) -> str:
    """Turn control, format and other invisible characters into escapes: none reaches a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
