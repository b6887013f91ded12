"""Puts a finished file or directory where an unfinished one must never be seen."""

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
    """A directory to write to, which takes the target's place in one step at the end.

    If the block ends in an exception the target is as it was, whether it existed or not. What is
    written stays in the target's parent directory, as a rename can't leave its file system.

    Raises:
        OutputError: The target's parent directory can't be written to.
    """
    # A link keeps pointing to where it points: what it leads to is replaced.
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target.parent}: can't be written to ({error.strerror})") from error
    try:
        staging = workspace / target.name
        staging.mkdir()
        yield staging
        replace_directory(target, staging)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def check_file(path: Path | str) -> None:
    """Refuse what can't become a file now, rather than after minutes of work.

    Raises:
        OutputError: It is a directory, or would be in one that isn't there.
    """
    if Path(path).is_dir():
        raise OutputError(f"{path}: a directory, not a file", hint="Name a file in it")
    parent = Path(path).parent
    if not parent.is_dir():
        raise OutputError(f"{parent}: there is no such directory")


def write_text(path: Path | str, text: str) -> None:
    """Write a file in UTF-8, which takes an old one's place in one step.

    A pipe or device is written to as it is; putting a file in its place would break it.

    Raises:
        OutputError: It is a directory, or can't be written.
    """
    check_file(path)
    # Through a link, the file that it leads to is replaced and not the link.
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
    """Put a directory in the place of another on the same file system, in one step.

    What was there before, if anything, is beside `new` or at `new` afterwards.
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
    """Swap two directories in one step, where the system can. Returns whether it did."""
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
