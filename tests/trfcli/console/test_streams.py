import subprocess
import sys

import pytest

from trfcli import console
from trfcli.text import terminal_width
from trfcli_pipeline.errors import OutputError


@pytest.mark.parametrize(("value", "width"), [("123", 123), ("0", 80)])
def test_columns_variable_sets_the_width(
    monkeypatch: pytest.MonkeyPatch, value: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert terminal_width() == width


def test_closed_stdout_is_an_error_when_something_is_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As Python does if the shell closed it.
    monkeypatch.setattr(sys, "stdout", None)
    console.configure(quiet=False, debug=False)
    assert console.data_width() > 80
    sys.stdout.flush()
    for write in (console.data, console.data_json):
        with pytest.raises(OutputError, match="stdout: closed"):
            write("text")
    with pytest.raises(OutputError, match="stdout: closed"):
        assert sys.stdout.buffer


def test_closed_stderr_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    console.configure(quiet=False, debug=False)
    console.fail("a message", hint="a hint")
    sys.stderr.close()


@pytest.mark.parametrize(
    ("redirection", "code", "lines"),
    [
        (">&-", 1, ["✘ stdout: closed", "  Redirect it to a file, or to /dev/null"]),
        ("| true", 0, []),
    ],
)
def test_closed_streams_of_a_process(redirection: str, code: int, lines: list[str]) -> None:
    program = f"{sys.executable} -c 'from trfcli.app import main; main()' info"
    command = ["sh", "-c", f"{program} {redirection}"]
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (result.returncode, result.stderr.splitlines()) == (code, lines)
