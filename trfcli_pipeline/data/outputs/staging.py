"""Directories and files are written next to their target, and replace it in one step."""

import ctypes
import errno
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from trfcli_pipeline.data.outputs.signals import signals_held
from trfcli_pipeline.data.outputs.spaces import explained, unwritable

# linux/fcntl.h and linux/fs.h
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_SUFFIX = ".tmp"
# Letters that mkdtemp puts into a name.
_RANDOM = 8
# The journal of a workspace. It says what `sweep` has to do if the process was killed.
_JOURNAL = "trf.json"
_NEW_JOURNAL = "trf.json.new"
# Where the old directory goes if the system can't exchange two directories.
_OLD = "old"


@contextmanager
def staged_directory(target: Path, own: Collection[str] | None = None) -> Iterator[Path]:
    """A directory to write to, which replaces the target in one step at the end of the block.

    If the block raises an exception, the target remains unchanged. The directory is created in a
    workspace next to the target, because a rename can't cross file systems.

    Args:
        own: Files in the target, relative to it, that are replaced or removed. All others are moved
            to the new directory. None: the whole directory is ours.

    Raises:
        OutputError: The target's parent directory isn't writable, or the disk is full.
    """
    # Replace the directory that a symbolic link points to, and keep the link.
    target = target.resolve()
    with workspace_beside(target) as workspace:
        staging = workspace / target.name
        staging.mkdir()
        with explained(target):
            yield staging
            swap(target, staging, workspace, own)


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A path to write a file to, which replaces the target in one step at the end of the block."""
    target = target.resolve()
    with workspace_beside(target) as workspace, explained(target):
        staging = workspace / target.name
        yield staging
        if target.exists():
            shutil.copymode(target, staging)
        with signals_held():
            staging.replace(target)


@contextmanager
def workspace_beside(target: Path) -> Iterator[Path]:
    """A hidden directory with an unpredictable name next to a target, removed at the end.

    Raises:
        OutputError: The target's parent directory isn't writable.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(
            tempfile.mkdtemp(prefix=f".{target.name}-", suffix=_SUFFIX, dir=target.parent)
        )
    except OSError as error:
        raise unwritable(target.parent, error) from error
    try:
        with explained(target):
            _write_journal(workspace, {"target": target.name})
        yield workspace
    finally:
        _clear(target, workspace)


def swap(target: Path, new: Path, workspace: Path, own: Collection[str] | None) -> None:
    """Replace a directory by another one, and move what isn't our own from the old to the new one.

    Signals wait until this is done. If the process is killed, `sweep` does the rest.
    """
    with signals_held():
        if not target.exists():
            new.rename(target)
            return
        shutil.copymode(target, new)
        files = None if own is None else sorted(own)
        journal = {"target": target.name, "new": _identify(new), "own": files}
        _write_journal(workspace, journal)
        if _exchange(new, target):
            return
        old = workspace / _OLD
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise


def sweep(target: Path) -> None:
    """Remove what killed processes have left of a target, and put back files that aren't ours.

    The caller has to hold the target's lock.
    """
    prefix = f".{target.name}-"
    for workspace in target.parent.glob(f"{glob.escape(prefix)}{'?' * _RANDOM}{_SUFFIX}"):
        if workspace.is_symlink() or not workspace.is_dir():
            continue
        # A process that was killed before it wrote the journal has left nothing else.
        is_new = {entry.name for entry in workspace.iterdir()} <= {_NEW_JOURNAL}
        if is_new or _read_journal(workspace).get("target") == target.name:
            _clear(target, workspace)


def _clear(target: Path, workspace: Path) -> None:
    """Remove a workspace, after moving what isn't ours from the old directory to the target."""
    journal = _read_journal(workspace)
    if "new" in journal and journal["own"] is not None:
        old = workspace / _OLD if (workspace / _OLD).exists() else workspace / target.name
        if old.exists() and _identify(old) != journal["new"]:
            if not target.exists():
                old.rename(target)
            else:
                with signals_held():
                    own = frozenset(journal["own"])
                    _move_others(old, target, own)
                    _remove_own(old, own)
    # The journal comes last: without it, the next run wouldn't know the rest as ours.
    for entry in workspace.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != _JOURNAL:
            entry.unlink()
    if {entry.name for entry in workspace.iterdir()} <= {_JOURNAL}:
        shutil.rmtree(workspace, ignore_errors=True)


def _move_others(old: Path, new: Path, own: frozenset[str]) -> None:
    """Move all files but our own to another directory, and directories without own files whole."""
    ancestors = {str(parent) for name in own for parent in PurePath(name).parents}
    for folder, directories, files in os.walk(old):
        source, destination = Path(folder), new / Path(folder).relative_to(old)
        whole = [
            name
            for name in directories
            if (source / name).is_symlink()
            or (
                str((source / name).relative_to(old)) not in ancestors
                and not (destination / name).is_dir()
            )
        ]
        others = [name for name in files if str((source / name).relative_to(old)) not in own]
        for name in (*others, *whole):
            destination.mkdir(parents=True, exist_ok=True)
            (source / name).rename(_free_name(destination / name))
        directories[:] = [name for name in directories if name not in whole]


def _remove_own(old: Path, own: frozenset[str]) -> None:
    """Remove our own files, and the directory if nothing else has got there meanwhile."""
    for name in own:
        (old / name).unlink(missing_ok=True)
    for folder, _, _ in os.walk(old, topdown=False):
        Path(folder).rmdir()


def _free_name(path: Path) -> Path:
    """The path itself, or one beside it if a file of the new directory has that name."""
    number, free = 1, path
    while free.exists() or free.is_symlink():
        free = path.with_name(f"{path.name}.kept{'' if number == 1 else number}")
        number += 1
    return free


def _identify(directory: Path) -> list[int]:
    """What stays the same when a directory is renamed."""
    status = directory.stat()
    return [status.st_dev, status.st_ino]


def _write_journal(workspace: Path, journal: dict[str, Any]) -> None:
    written = workspace / _NEW_JOURNAL
    written.write_text(json.dumps(journal), encoding="utf8")
    written.replace(workspace / _JOURNAL)


def _read_journal(workspace: Path) -> dict[str, Any]:
    try:
        journal: Any = json.loads((workspace / _JOURNAL).read_bytes())
    except (OSError, ValueError):
        return {}
    return journal if isinstance(journal, dict) else {}


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories atomically. Returns False if the system can't."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), str(other))
