"""Sizes and hashes of files and directories."""

import hashlib
from pathlib import Path


def directory_bytes(path: Path) -> int:
    """Total size of all files in a directory, in bytes."""
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def directory_digest(path: Path) -> str:
    """SHA-256 over the names and contents of all files in a directory."""
    found = hashlib.sha256()
    for each in sorted(path.rglob("*")):
        if each.is_file():
            found.update(f"{each.relative_to(path)} {sha256(each)}\n".encode())
    return found.hexdigest()


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
