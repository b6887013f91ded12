"""The manifest of a saved pipeline or package: its own files, with their SHA-256.

It is in the directory's `meta.json`, under "trf" and "files". It tells which files may be replaced,
and whether one of them has changed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from trfcli_pipeline.data.files import read_object, sha256
from trfcli_pipeline.errors import OutputError

META = "meta.json"
_SECTION, _KEY = "trf", "files"


def read_meta(directory: Path) -> dict[str, Any] | None:
    """The content of a directory's `meta.json`; None if there is none, or if it is damaged."""
    try:
        return read_object(directory / META, OutputError)
    except OutputError:
        return None


def read_section(directory: Path) -> dict[str, Any]:
    """What `trf` added to a directory's `meta.json`; {} if there is nothing."""
    section = (read_meta(directory) or {}).get(_SECTION)
    return section if isinstance(section, dict) else {}


def read_manifest(directory: Path) -> dict[str, str] | None:
    """SHA-256 of a directory's own files by their relative paths, or None without a manifest."""
    files = read_section(directory).get(_KEY)
    if not isinstance(files, dict) or not all(map(_is_inside, files)):
        return None
    return files


def list_own(directory: Path) -> frozenset[str] | None:
    """Relative paths of the files in a directory's manifest and of `meta.json`, if it has one."""
    files = read_manifest(directory)
    return None if files is None else frozenset({*files, META})


def write_manifest(directory: Path, files: Iterable[str]) -> None:
    """Add the SHA-256 of files to a directory's `meta.json`.

    Args:
        files: Paths relative to the directory. `meta.json` itself is left out.
    """
    meta = read_object(directory / META, OutputError)
    manifest = {name: sha256(directory / name) for name in sorted({*files} - {META})}
    meta[_SECTION] = {**meta.get(_SECTION, {}), _KEY: manifest}
    _write_meta(directory, meta)


def update_meta(directory: Path, meta: Mapping[str, Any], *, added: Iterable[str] = ()) -> None:
    """Replace the content of a directory's `meta.json`, but for the manifest.

    Args:
        meta: The new content.
        added: Files to add to the manifest. The others aren't hashed again.
    """
    files = read_manifest(directory)
    if files is not None:
        files |= {name: sha256(directory / name) for name in added}
        meta = {**meta, _SECTION: {**meta.get(_SECTION, {}), _KEY: files}}
    _write_meta(directory, meta)


def without_manifest(meta: dict[str, Any]) -> dict[str, Any]:
    """Remove the manifest from meta data in memory, which it doesn't describe."""
    section = meta.get(_SECTION)
    if isinstance(section, dict) and _KEY in section:
        meta[_SECTION] = {key: value for key, value in section.items() if key != _KEY}
    return meta


@contextmanager
def recorded(directory: Path) -> Iterator[None]:
    """Write the manifest of what is saved to a directory in the block.

    Files that were there before, and aren't written in the block, aren't ours.
    """
    before = _states(directory)
    known = read_manifest(directory) or {}
    yield
    after = _states(directory)
    if META in after:
        written = {name for name, state in after.items() if state != before.get(name)}
        write_manifest(directory, written | (known.keys() & after.keys()))


def _states(directory: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for name in list_files(directory):
        status = (directory / name).stat()
        found[name] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def find_changes(directory: Path, manifest: Mapping[str, str]) -> dict[str, str]:
    """Compare files with a manifest.

    Returns:
        "changed" or "missing", by the paths of files that aren't as they were saved.
    """
    found = {}
    for name, expected in manifest.items():
        path = directory / name
        if not path.is_file():
            found[name] = "missing"
        elif sha256(path) != expected:
            found[name] = "changed"
    return found


def list_files(directory: Path) -> set[str]:
    """Paths of all files in a directory, relative to it, with forward slashes."""
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }


def _write_meta(directory: Path, meta: Mapping[str, Any]) -> None:
    # Not by srsly, which would round numbers.
    text = json.dumps(meta, indent=2, ensure_ascii=False)
    (directory / META).write_text(text, encoding="utf8")


def _is_inside(name: object) -> bool:
    path = PurePosixPath(str(name))
    return not path.is_absolute() and ".." not in path.parts
