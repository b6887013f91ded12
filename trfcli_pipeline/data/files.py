"""Sizes and hashes of files and directories."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


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
