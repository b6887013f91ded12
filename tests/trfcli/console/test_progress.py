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
    written = terminal.getvalue().replace("\r", "")
    assert "Odd\n" in written
    # The bar is drawn again below it.
    assert written.index("Odd\n") < written.rindex("training")


def test_rows_are_right_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    console.progress_row([("step", 6), ("macro F", 7)])
    console.progress_row([("282", 6), ("0.974", 7)], note="← best")
    assert capsys.readouterr().err == "   step  macro F\n    282    0.974  ← best\n"
