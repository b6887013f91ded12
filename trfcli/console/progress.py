"""Progress on stderr: a bar for the work, a table for its results."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trfcli.console.messages import write_line
from trfcli.console.settings import settings
from trfcli.console.streams import UNLIMITED, can_encode, terminal_width

if TYPE_CHECKING:
    from tqdm import tqdm

_NARROW_CELL = 5  # columns: enough for 0.982 or 1,410


def progress(total: int | None, desc: str, *, unit: str = "it") -> "tqdm":
    """Return a bar that disappears when the work is done.

    Without a terminal and with --quiet, no bar is shown. Use it in a `with` statement, and call its
    `update(n)` and `set_postfix_str(text)`.
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
    """Print rows one by one, above the progress bar. With --quiet, nothing is shown.

    On a narrow terminal, the columns move closer together and the last ones are left out.

    Args:
        columns: Header and width of each column. All cells are right-aligned.
        note: The longest note that may follow a row.
    """

    def __init__(self, columns: Sequence[tuple[str, int]], *, note: str = "") -> None:
        self.columns = [(header, max(width, len(header))) for header, width in columns]
        self.gap = "  "
        self.has_header = False
        available = terminal_width() if sys.stderr.isatty() else UNLIMITED
        if self._width(note) > available:
            self.gap = " "
            self.columns = [(header, max(len(header), _NARROW_CELL)) for header, _ in columns]
        while self._width(note) > available and len(self.columns) > 1:
            self.columns.pop()

    def add(self, *cells: str, note: str = "") -> None:
        """Print a row, followed by a note such as "← best". The header comes before the first."""
        if settings.quiet:
            return
        if not self.has_header:
            self.has_header = True
            write_line(self._row([header for header, _ in self.columns], ""))
        write_line(self._row(cells, note))

    def _width(self, note: str) -> int:
        return len(self._row(["x" * width for _, width in self.columns], note))

    def _row(self, cells: Sequence[str], note: str) -> str:
        # There are more cells than columns if some columns were left out.
        pairs = zip(cells, self.columns, strict=False)
        aligned = [cell.rjust(width) for cell, (_, width) in pairs]
        return f" {self.gap.join([*aligned, note])}".rstrip()
