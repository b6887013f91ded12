from collections.abc import Callable
from typing import TextIO

import pytest

from trfcli import console

MakeStream = Callable[[str, bool], TextIO]


@pytest.mark.parametrize(("value", "width"), [("123", 123), ("0", 80)])
def test_columns_variable_sets_the_width(
    monkeypatch: pytest.MonkeyPatch, value: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert console.terminal_width() == width


@pytest.mark.usefixtures("narrow")
def test_only_terminals_have_color(make_stream: MakeStream) -> None:
    assert console.has_color(make_stream("utf-8", True))
    assert not console.has_color(make_stream("utf-8", False))


@pytest.mark.usefixtures("narrow")
def test_empty_no_color_variable_has_no_effect(
    monkeypatch: pytest.MonkeyPatch, make_stream: MakeStream
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert console.has_color(make_stream("utf-8", True))
