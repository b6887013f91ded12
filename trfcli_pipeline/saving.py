"""Puts a finished directory where an unfinished one must never be seen."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        _put_in_place(staging, target, workspace / "old")
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _put_in_place(staging: Path, target: Path, old: Path) -> None:
    if not target.exists():
        staging.rename(target)
    elif not _exchange(staging, target):
        target.rename(old)
        try:
            staging.rename(target)
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
