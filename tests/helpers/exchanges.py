"""Ways in which two directories can be exchanged, and what is in a directory."""

import ctypes
import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def has_no_siblings(path: Path) -> bool:
    """Whether no temporary files are left next to a directory."""
    return list(path.parent.iterdir()) == [path]


def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")


def refused_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems without atomic exchange, such as some network file systems."""

    def renameat2(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=renameat2))


def missing_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())


def real_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


WAYS = [real_exchange, no_exchange, refused_exchange, missing_exchange]
