"""What commands show while they work."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from rich.cells import cell_len

from trfcli import console, status
from trfcli.status import FRAMES, StatusLine
from trfcli_pipeline.progress import phase

Streams = Callable[..., Any]
TITLE = "Loading ./model"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show at once what is shown after a while."""
    monkeypatch.setattr(status, "_REDRAW", 0.005)
    monkeypatch.setattr(status, "_PATIENCE", 0.0)
    monkeypatch.setattr(status, "_SILENCE", 0.0)


@pytest.fixture
def ended() -> Iterator[Callable[[StatusLine], StatusLine]]:
    """Stop status lines at the end of the test."""
    lines: list[StatusLine] = []

    def end_later(line: StatusLine) -> StatusLine:
        lines.append(line)
        return line

    yield end_later
    for line in lines:
        line.stop()


def wait_for(stream: Any, text: str) -> None:
    """Wait until a text was written to a stream."""
    end = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < end, stream.getvalue()
        time.sleep(0.005)


def drawn(stream: Any) -> list[str]:
    """Everything that was written to the last line of a terminal, in order."""
    return [part.rstrip() for part in stream.getvalue().split("\r")]


# --- On a terminal ---


@pytest.mark.usefixtures("narrow")
def test_phase_is_shown_with_the_time_and_removed_at_the_end(streams: Streams) -> None:
    with streams() as terminal, console.working("Running"), phase(TITLE):
        wait_for(terminal, TITLE)
    *_, last, cleared, cursor = drawn(terminal)
    assert last[1] in FRAMES
    assert last[2:] == f" {TITLE}  00:00"
    assert (cleared, cursor) == ("", "")


@pytest.mark.usefixtures("narrow")
def test_innermost_phase_is_shown_and_the_title_between_phases(streams: Streams) -> None:
    with streams() as terminal, console.working("Running trf train"):
        with phase(TITLE), phase("Saving"):
            wait_for(terminal, "Saving")
        wait_for(terminal, "Running trf train")
    assert TITLE not in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
def test_counted_phase_is_a_bar_that_counts_from_the_start(
    streams: Streams, ended: Callable[[StatusLine], StatusLine]
) -> None:
    with streams() as terminal, phase("Training", total=4, unit="steps") as training:
        training.done, training.note = 2, "loss 0.038"
        ended(StatusLine("Running", start=time.perf_counter() - 65))
        wait_for(terminal, "Training")
    line = drawn(terminal)[1]
    assert line.startswith(" Training  50% ")
    assert "  2/4  01:05 < " in line


@pytest.mark.usefixtures("narrow")
def test_phase_without_a_total_is_counted(streams: Streams) -> None:
    with (
        streams() as terminal,
        console.working("Running"),
        phase("Reading stdin", unit="texts") as reading,
    ):
        reading.done = 1200
        wait_for(terminal, "1,200")
    assert "Reading stdin  1,200 texts  00:00" in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("total", [None, 7])
def test_line_never_wraps(streams: Streams, total: int | None) -> None:
    title = "Loading " + "/very/long/目录" * 9
    with streams() as terminal, console.working("Running"), phase(title, total=total, unit="it"):
        wait_for(terminal, "Loading")
    widths = [cell_len(line) for line in drawn(terminal)]
    assert max(widths) <= 39
    if total is None:
        assert all(re.search(r"…  0 it  00:\d\d$", line) for line in drawn(terminal) if line)


@pytest.mark.usefixtures("narrow")
def test_title_cannot_control_the_terminal(streams: Streams) -> None:
    with streams() as terminal, console.working("Running"), phase("Loading \033[2J"):
        wait_for(terminal, "Loading \\x1b[2J")
    assert "\033[2J" not in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
def test_message_goes_above_the_line(streams: Streams) -> None:
    with streams() as terminal, console.working("Running"), phase(TITLE):
        wait_for(terminal, TITLE)
        console.warn("Odd")
        written = terminal.getvalue()
    # The line was removed first, and is drawn again.
    before, after = written.split("Odd\n")
    assert before.rpartition("\r")[0].endswith(" " * len(TITLE))
    assert TITLE in after


@pytest.mark.usefixtures("narrow")
def test_data_replaces_the_line(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    with streams() as terminal, console.working("Running"), phase(TITLE):
        wait_for(terminal, TITLE)
        monkeypatch.setattr(status, "_PATIENCE", 99.0)
        console.data("0.95")
        assert "\r0.95\n" in terminal.getvalue()


@pytest.mark.usefixtures("narrow")
def test_line_is_gone_before_an_error_is_reported(streams: Streams) -> None:
    def be_interrupted() -> None:
        with console.working("Running"), phase(TITLE):
            wait_for(terminal, TITLE)
            raise KeyboardInterrupt

    with streams() as terminal:
        with pytest.raises(KeyboardInterrupt):
            be_interrupted()
        console.progress_row([("1", 4)])
    assert drawn(terminal)[-1] == "    1"


@pytest.mark.usefixtures("narrow")
def test_spinner_in_ascii(streams: Streams) -> None:
    with streams(encoding="ascii") as terminal, console.working("Running"), phase(TITLE):
        wait_for(terminal, TITLE)
    assert {line[1] for line in drawn(terminal) if line} <= {*"|/-\\"}


@pytest.mark.usefixtures("narrow")
def test_no_line_after_the_status_has_ended(streams: Streams) -> None:
    with streams() as terminal, console.working("Running"), phase(TITLE):
        console.end_status()
        before = terminal.getvalue()
        time.sleep(0.05)
        assert terminal.getvalue() == before


# --- Without a terminal ---


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("term", [None, "dumb"])
def test_plain_line_after_a_silence(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    if term is not None:
        monkeypatch.setenv("TERM", term)
    with streams(is_terminal=term is not None) as log, console.working("Running"):
        with phase(TITLE):
            wait_for(log, "  Still loading ./model, 0 s\n")
        with phase("Training", total=5000, unit="steps") as training:
            training.done = 1200
            wait_for(log, "  Still training: 1,200 of 5,000 steps, 0 s\n")
    assert "\r" not in log.getvalue()


def test_other_output_delays_the_plain_line(
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    ended: Callable[[StatusLine], StatusLine],
) -> None:
    monkeypatch.setattr(status, "_SILENCE", 60.0)
    monkeypatch.setattr(status, "_REDRAW", 60.0)
    clock = [0.0]
    monkeypatch.setattr(status.time, "perf_counter", lambda: clock[0])
    with streams(is_terminal=False) as log:
        line = ended(StatusLine("Running", start=0.0))
        clock[0] = 50.0
        line.write("Read")
        clock[0] = 100.0
        line.tick()
        assert log.getvalue() == "Read\n"
        clock[0] = 110.0
        line.tick()
        assert log.getvalue() == "Read\n  Still running, 1 min 50 s\n"


@pytest.mark.parametrize(("quiet", "silently"), [(True, False), (False, True)])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_is_shown_if_nothing_is_wanted(
    streams: Streams, quiet: bool, silently: bool, is_terminal: bool
) -> None:
    console.configure(quiet=quiet, debug=False)
    with (
        streams(is_terminal=is_terminal) as stream,
        console.working("Running", silently=silently),
        phase(TITLE),
    ):
        time.sleep(0.05)
    assert stream.getvalue() == ""


# --- The total time ---


def test_long_work_ends_with_the_total_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_SILENCE", 99.0)
    with console.working("Running"):
        console.good("Saved")
    monkeypatch.setattr(console, "_LONG", 0.0)
    with console.working("Running"):
        console.good("Saved")
        console.end_status()
    with suppress(ValueError), console.working("Running"):
        raise ValueError("odd")
    with console.working("Running", silently=True):
        pass
    assert capsys.readouterr() == ("", "✔ Saved\n✔ Saved\n  Done in 0 s\n")


# --- Forks ---


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_fork_waits_until_the_line_is_written() -> None:
    """Or the child would inherit a lock that nobody releases."""
    is_held, is_forking = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with status.lock:
            is_held.set()
            is_forking.wait(10)
            time.sleep(0.05)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    is_held.wait(10)
    is_forking.set()
    child = os.fork()
    if child == 0:
        os._exit(0 if status.lock.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    writer.join()
