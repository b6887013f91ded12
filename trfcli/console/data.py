"""Requested data, on stdout."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from trfcli.console.streams import UNLIMITED, encodable, has_color, terminal_width
from trfcli.console.text import NO_BREAK, printable, wrap

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def data(text: str) -> None:
    """Print a text as it is."""
    print(encodable(text, sys.stdout))


def data_json(value: object) -> None:
    """Print a value as JSON."""
    data(json.dumps(value, ensure_ascii=False, indent=2))


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


def data_lines(lines: "Iterable[RenderableType]") -> None:
    """Print lines that already fit the width. Styles are shown on a terminal only."""
    console = _stdout_console()
    with console.capture() as capture:
        for line in lines:
            console.print(line, soft_wrap=True)
    data(capture.get().removesuffix("\n"))


def data_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> None:
    """Print a table.

    On a narrow terminal, the columns move closer together, and cells wrap if they have to.
    Without a terminal, no cell wraps.

    Args:
        left: The number of columns that are left-aligned. The others are right-aligned.
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
        table.add_column(Text(header), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = _stdout_console()
    console.width = data_width()
    # By default, rich limits what it measures to the width of the console.
    unbounded = console.options.update(max_width=UNLIMITED)
    if console.measure(table, options=unbounded).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    with console.capture() as capture:
        console.print(table)
    data("\n".join(f" {line}".rstrip() for line in capture.get().splitlines()))


def data_width() -> int:
    """Return the columns that a table may take, after a margin of one."""
    return terminal_width() - 1 if sys.stdout.isatty() else UNLIMITED


def _stdout_console() -> "Console":
    from rich.console import Console

    return Console(
        file=sys.stdout,
        color_system="auto" if has_color(sys.stdout) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
