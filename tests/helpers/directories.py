"""Snapshots of directories."""

import hashlib
from pathlib import Path


def snapshot(directory: Path) -> dict[str, str]:
    """SHA-256 of each file in a directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
