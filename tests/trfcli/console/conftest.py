import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout

import pytest

from trfcli import console


class Stream(io.TextIOWrapper):
    """A terminal or a file, in a given encoding."""

    def __init__(self, encoding: str, is_terminal: bool) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, encoding=encoding, newline="")
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def getvalue(self) -> str:
        self.flush()
        return self.content.getvalue().decode(self.encoding)


@pytest.fixture(scope="session")
def streams() -> Callable[..., AbstractContextManager[Stream]]:
    """Redirect stdout and stderr to one stream.

    A context manager, because pytest replaces both after it has set up the fixtures.
    """

    @contextmanager
    def redirect(*, encoding: str = "utf-8", is_terminal: bool = True) -> Iterator[Stream]:
        stream = Stream(encoding, is_terminal)
        with redirect_stdout(stream), redirect_stderr(stream):
            console.configure(quiet=console.settings.quiet, debug=False)
            yield stream

    return redirect


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with 40 columns and colors."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
