import pytest

from trfcli import console


@pytest.mark.parametrize(("value", "width"), [("123", 123), ("0", 80)])
def test_columns_variable_sets_the_width(
    monkeypatch: pytest.MonkeyPatch, value: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert console.terminal_width() == width
