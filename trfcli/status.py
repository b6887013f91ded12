"""The line at the bottom of a terminal that says what is being done, and for how long.

A thread draws it, so it stays alive while libraries are imported and while they compute. Without a
terminal, a plain line is written whenever nothing else was written for half a minute.
"""

import os
import sys
import time
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, TextIO

from trfcli.text import printable, terminal_width
from trfcli.wording import duration, thousands

if TYPE_CHECKING:
    from trfcli_pipeline.progress import Phase

# In seconds: the time between two drawings, the time until the first one, so that quick commands
# don't flicker, and the longest silence in a file: half a minute, even if the machine is busy.
_REDRAW, _PATIENCE, _SILENCE = 0.2, 0.5, 29.0

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_BAR = " {desc} {percentage:3.0f}% {bar}  {n_fmt}/{total_fmt}  {elapsed} < {remaining}{postfix}"
_BAR_CHARACTERS = " ╸━"

# Held while stderr is written to. A fork at that moment would inherit locks of the stream that
# nobody releases.
lock = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
    )


class StatusLine:
    """Shows the current phase of the library's work on stderr, until it is stopped.

    Args:
        idle: What to show between phases.
        start: When the work began, by `time.perf_counter`.
    """

    def __init__(self, idle: str, start: float) -> None:
        self._idle = idle
        self._start = start
        self._stream: TextIO = sys.stderr
        self._is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._last_output = time.perf_counter()
        self._width = 0
        self._frame = 0
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="status line", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Remove the line for good."""
        self._stopped.set()
        self._thread.join()
        self.clear()

    def clear(self) -> None:
        """Remove the line. It is drawn again if nothing is written for a moment."""
        with lock:
            if self._width:
                self._stream.write(f"\r{' ' * self._width}\r")
                self._stream.flush()
            self._width = 0
            self._last_output = time.perf_counter()

    def write(self, line: str) -> None:
        """Write a line above this one."""
        with lock:
            was_shown = self._width > 0
            self.clear()
            print(line, file=self._stream, flush=True)
            if was_shown and self._phase().title != self._idle:
                self._draw()

    def tick(self) -> None:
        """Draw the line or write a plain one, if it is time for that."""
        with lock:
            silence = time.perf_counter() - self._last_output
            if self._is_terminal and (self._width or silence >= _PATIENCE):
                self._draw()
            elif not self._is_terminal and silence >= _SILENCE:
                self._report()

    def _run(self) -> None:
        # Raised if the terminal was closed, or the program that reads stderr has ended.
        with suppress(OSError, ValueError):
            while not self._stopped.wait(_REDRAW):
                self.tick()

    def _draw(self) -> None:
        """Draw the line on a terminal, over what was drawn before."""
        from tqdm.utils import disp_len, disp_trim

        columns = terminal_width() - 1
        text: str = disp_trim(self._text(columns), columns)
        width: int = disp_len(text)
        self._stream.write(f"\r{text}{' ' * (self._width - width)}")
        self._stream.flush()
        self._width = width

    def _report(self) -> None:
        """Write a plain line."""
        phase, elapsed = self._phase(), duration(time.perf_counter() - self._start)
        title = printable(phase.title)
        total = "" if phase.total is None else f" of {thousands(phase.total)}"
        counted = f": {thousands(phase.done)}{total} {phase.unit}" if phase.unit else ""
        self.write(f"  Still {title[:1].lower()}{title[1:]}{counted}, {elapsed}")

    def _text(self, columns: int) -> str:
        from rich.cells import cell_len, set_cell_size
        from tqdm import tqdm

        phase, elapsed = self._phase(), time.perf_counter() - self._start
        title = printable(phase.title)
        if phase.total:
            bar: str = tqdm.format_meter(
                phase.done,
                phase.total,
                elapsed,
                ncols=columns,
                prefix=title,
                rate=phase.rate,
                bar_format=_BAR,
                postfix=phase.note,
                ascii=_BAR_CHARACTERS,
            )
            return bar
        self._frame = (self._frame + 1) % len(FRAMES)
        counted = f"{thousands(phase.done)} {phase.unit}" if phase.unit else ""
        facts = (counted, tqdm.format_interval(elapsed), phase.note)
        rest = "".join(f"  {fact}" for fact in facts if fact)
        room = max(columns - 3 - cell_len(rest), 1)
        if cell_len(title) > room:
            title = f"{set_cell_size(title, room - 1)}…"
        return f" {FRAMES[self._frame]} {title}{rest}"

    def _phase(self) -> "Phase":
        from trfcli_pipeline.progress import Phase, current_phase

        return current_phase() or Phase(self._idle)
