"""Sizes and hashes of files and directories, and JSON files that may come from elsewhere."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trfcli_pipeline.errors import TrfError, one_line

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of_file(path: Path) -> str | None:
    """What a path leads to, if it isn't a regular file: "a directory", "a named pipe", ...

    Opening a named pipe would wait for a program that writes to it.

    Raises:
        OSError: There is no such file, or its links form a loop.
    """
    mode = stat.S_IFMT(os.stat(path).st_mode)
    return None if mode == stat.S_IFREG else _KINDS.get(mode, "a special file")


def require_file(
    path: Path, error: type[TrfError], *, hint: str | None = None, or_directory: bool = False
) -> None:
    """Check that a path leads to a file.

    Args:
        error: Class of the exception to raise.
        hint: What to do if it doesn't.
        or_directory: Whether it may lead to a directory, too.

    Raises:
        TrfError: Of the given class: it leads nowhere, or to something else.
    """
    try:
        kind = kind_of_file(path)
    except FileNotFoundError as problem:
        raise error(f"{path}: no such file", hint=hint) from problem
    except OSError as problem:
        reason = problem.strerror or one_line(problem)
        raise error(f"{path}: can't be read ({reason})", hint=hint) from problem
    if kind is not None and not (or_directory and kind == "a directory"):
        raise error(f"{path}: {kind}, not a file", hint=hint)


def similar_file(path: Path) -> str | None:
    """Suggest what was meant by the path of a file that doesn't exist."""
    if not path.parent.is_dir():
        return f"There is no directory {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.name != path.name)
    close = get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None


def read_object(path: Path, error: type[TrfError], *, hint: str | None = None) -> dict[str, Any]:
    """Read a JSON file that has to contain an object.

    Args:
        error: Class of the exception to raise.
        hint: What to do if the file can't be read.

    Raises:
        TrfError: Of the given class: the file isn't there, isn't JSON, or contains another value.
    """
    require_file(path, error, hint=hint)
    try:
        value = json.loads(path.read_bytes())
    except OSError as problem:
        reason = problem.strerror or one_line(problem)
        raise error(f"{path}: can't be read ({reason})", hint=hint) from problem
    except RecursionError as problem:
        raise error(f"{path}: not valid JSON (nested too deeply)", hint=hint) from problem
    except ValueError as problem:
        raise error(f"{path}: not valid JSON ({one_line(problem)})", hint=hint) from problem
    if not isinstance(value, dict):
        raise error(f"{path}: not a JSON object", hint=hint)
    return value


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or directory, which exists."""
    return one.exists() and other.exists() and one.samefile(other)


def link_or_copy(source: str, destination: str) -> None:
    """Make a hard link to a file, or a copy where the file system has no links."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def directory_bytes(path: Path) -> int:
    """Total size of all files in a directory, in bytes."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def files_digest(directory: Path, names: Iterable[str]) -> str:
    """SHA-256 over the names and contents of files in a directory."""
    found = hashlib.sha256()
    for name in sorted(names):
        if (directory / name).is_file():
            found.update(f"{name} {sha256(directory / name)}\n".encode())
    return found.hexdigest()


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
