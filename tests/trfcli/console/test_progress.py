from collections.abc import Callable
from typing import Any

import pytest

from trfcli import console

Streams = Callable[..., Any]


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "training") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("narrow")
def test_no_bar_with_quiet(streams: Streams) -> None:
    console.configure(quiet=True, debug=False)
    with streams() as terminal, console.progress(3, "training") as bar:
        bar.update(3)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("total", "shown"), [(4, " training  50% "), (None, " training  2 steps")])
def test_bar_on_a_terminal_disappears_at_the_end(
    total: int | None, shown: str, streams: Streams
) -> None:
    with streams() as terminal, console.progress(total, "training", unit="steps") as bar:
        bar.update(2)
        bar.refresh()
    written = terminal.getvalue()
    assert shown in written
    assert written.endswith("\r")


@pytest.mark.usefixtures("narrow")
def test_message_goes_above_the_bar(streams: Streams) -> None:
    with streams() as terminal, console.progress(3, "training"):
        console.warn("Odd")
    assert "Odd\n" in terminal.getvalue().replace("\r", "")


def test_rows_are_aligned_below_one_header(capsys: pytest.CaptureFixture[str]) -> None:
    table = console.ProgressTable([("step", 6), ("macro F", 0), ("words/s", 9)])
    table.add("141", "0.960", "3,410")
    table.add("282", "0.974", "3,395", note="← best")
    assert capsys.readouterr().err == (
        "   step  macro F    words/s\n"
        "    141    0.960      3,410\n"
        "    282    0.974      3,395  ← best\n"
    )


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        ("50", [" step   epoch  macro F   words/s", "  282    2.00    0.974     3,395  ← best"]),
        ("34", ["  step epoch macro F", "   282  2.00   0.974 ← best"]),
        ("18", ["  step", "   282 ← best"]),
        ("5", ["  step", "   282 ← best"]),
    ],
)
def test_narrow_terminal_gets_fewer_columns(
    monkeypatch: pytest.MonkeyPatch, columns: str, lines: list[str], streams: Streams
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    header = [("step", 4), ("epoch", 6), ("macro F", 0), ("words/s", 8)]
    with streams() as terminal:
        table = console.ProgressTable(header, note="← best")
        table.add("282", "2.00", "0.974", "3,395", note="← best")
    assert terminal.getvalue().splitlines() == lines
