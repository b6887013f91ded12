"""Atomic writes: files and directories are replaced in one step, once they are complete."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trfcli_pipeline.errors import OutputError

# linux/fcntl.h and linux/fs.h
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """A directory to write to, which replaces the target in one step at the end of the block.

    If the block raises an exception, the target remains unchanged. The directory is created next
    to the target, because a rename can't cross file systems.

    Raises:
        OutputError: The target's parent directory isn't writable.
    """
    # Replace the directory that a symbolic link points to, and keep the link.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target.parent}: not writable ({error.strerror})") from error
    try:
        staging = workspace / target.name
        staging.mkdir()
        yield staging
        replace_directory(target, staging)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def check_file(path: Path | str) -> None:
    """Check early, before minutes of work, that a path can become a file.

    Raises:
        OutputError: The path is a directory, or its parent directory doesn't exist.
    """
    if Path(path).is_dir():
        raise OutputError(f"{path}: a directory, not a file", hint="Give the path of a file in it")
    parent = Path(path).parent
    if not parent.is_dir():
        raise OutputError(f"{parent}: there is no such directory", hint="Create it first")


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file, replacing an existing one in one step.

    Pipes and devices are written to directly.

    Raises:
        OutputError: The path is a directory, or can't be written.
    """
    check_file(path)
    # Replace the file that a symbolic link points to, and keep the link.
    target = Path(path).resolve()
    in_place = target.exists() and not target.is_file()
    written = target if in_place else target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        written.write_text(text, encoding="utf8")
        if not in_place:
            written.replace(target)
    except OSError as error:
        raise OutputError(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        if not in_place:
            with suppress(OSError):
                written.unlink(missing_ok=True)


def replace_directory(target: Path, new: Path) -> None:
    """Replace a directory by another one on the same file system, in one step.

    Afterwards the old directory, if there was one, is at `new` or next to it.
    """
    target = target.resolve()
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        old = new.with_name(f"{new.name}-replaced")
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise


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
