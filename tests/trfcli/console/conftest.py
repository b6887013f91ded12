import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout

import pytest


class Stream(io.StringIO):
    """A terminal or a file, in a given encoding."""

    def __init__(self, encoding: str, is_terminal: bool) -> None:
        super().__init__()
        self.declared_encoding = encoding
        self.is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.declared_encoding

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture(scope="session")
def make_stream() -> Callable[[str, bool], Stream]:
    return Stream


@pytest.fixture(scope="session")
def streams() -> Callable[..., AbstractContextManager[Stream]]:
    """Redirect stdout and stderr to one stream.

    A context manager, because pytest replaces both after it has set up the fixtures.
    """

    @contextmanager
    def redirect(*, encoding: str = "utf-8", is_terminal: bool = True) -> Iterator[Stream]:
        stream = Stream(encoding, is_terminal)
        with redirect_stdout(stream), redirect_stderr(stream):
            yield stream

    return redirect


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with 40 columns and colors."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
