"""Which commands show a status line."""

import io
import sys
from types import ModuleType
from typing import Any

import pytest

from trfcli import console
from trfcli.app import app
from trfcli_pipeline.errors import DataError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("args", "typed", "variables", "is_shown"),
    [
        (["inspect", "x"], True, {}, True),
        (["inspect", "-"], False, {}, True),
        (["inspect", "-"], True, {}, False),
        (["inspect", "x", "--json"], False, {}, False),
        (["inspect", "x"], False, {"RANK": "1"}, False),
        (["inspect", "x", "--quiet"], False, {}, False),
    ],
    ids=str,
)
def test_status_is_shown_unless_it_would_disturb(
    inspection: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    typed: bool,
    variables: dict[str, str],
    is_shown: bool,
) -> None:
    """It would disturb a user who types the text, and programs that read JSON."""
    shown = []

    def inspect_alignment(text: str, model: str | None) -> dict[str, Any]:
        shown.append(console.settings.status is not None)
        raise DataError("odd")

    inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", Terminal() if typed else io.StringIO())
    monkeypatch.setattr("trfcli.commands.inspect_alignment.read_stdin", lambda: "x")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert app(args, standalone_mode=False) == 1
    assert shown == [is_shown]
    assert console.settings.status is None
