"""Room on the disk, and the errors of a disk that is full or can't be written."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trfcli_pipeline.errors import ArgumentError, OutputError, TrfError

_ELSEWHERE = "Choose another directory"
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def check_room(target: Path, size: int) -> None:
    """Check that the disk has room for an output.

    Args:
        target: Its path; the parent directory exists.
        size: An estimate of what will be written, in bytes.

    Raises:
        OutputError: The disk has less.
    """
    free = shutil.disk_usage(target.parent).free
    if free < size:
        raise OutputError(
            f"{target.parent}: {free / 1e6:,.1f} MB are free, but about {size / 1e6:,.1f} MB are "
            "needed",
            hint="Free some space, or choose a directory on another disk",
        )


@contextmanager
def explained(
    shown: Path | str, hint: str = "Free some space, then run it again"
) -> Iterator[None]:
    """Turn the errors of writing into an OutputError.

    Args:
        shown: Path of the output.
        hint: What to do if the disk is full.
    """
    try:
        yield
    except TrfError:
        raise
    except Exception as error:
        if is_full(error):
            raise OutputError(f"{shown}: the disk is full", hint=hint) from error
        if isinstance(error, OSError) and error.strerror:
            raise unwritable(shown, error) from error
        raise


def is_full(error: BaseException) -> bool:
    """Whether an exception is about a full disk, or was raised because of one.

    Libraries in other languages raise exceptions of their own, which only say so in their text.
    """
    if isinstance(error, TrfError):
        return error.__cause__ is not None and is_full(error.__cause__)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(f"(os error {code})" in str(error) for code in _FULL) or "No space left" in str(
        error
    )


def check_path(path: Path) -> None:
    """Check that an output isn't stdout, and isn't below a file.

    Raises:
        ArgumentError: It is "-".
        OutputError: It is below a file.
    """
    if str(path) == "-":
        raise ArgumentError("-: this output can't be stdout", hint="Name a file or directory")
    existing = next((parent for parent in path.expanduser().parents if parent.exists()), None)
    if existing is not None and not existing.is_dir():
        raise OutputError(f"{existing}: is a file, not a directory", hint=_ELSEWHERE)


def refuses_files(directory: Path) -> OutputError:
    """The error for a directory in which the system lets nobody create files, such as /proc."""
    return OutputError(f"{directory}: no files can be created there", hint=_ELSEWHERE)


def unwritable(shown: Path | str, error: OSError) -> OutputError:
    """The error for a file or directory that can't be written."""
    return OutputError(f"{shown}: not writable ({error.strerror or error})", hint=_ELSEWHERE)
