"""Locks that let one process at a time write an output."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trfcli_pipeline.data.outputs.spaces import refuses_files, unwritable
from trfcli_pipeline.errors import OutputError

# Locks that this process holds. A child that inherited one would hold it beyond our end.
_held: set[int] = set()


@contextmanager
def locked(target: Path, shown: str) -> Iterator[None]:
    """Hold the lock of an output. The system releases it when this process ends, however it ends.

    The lock is on `.NAME.lock` next to the output, which has the process's id and command.

    Args:
        target: The resolved path of the output. Its parent directory must exist.
        shown: The path as the user wrote it.

    Raises:
        OutputError: Another process writes the output, or its directory isn't writable.
    """
    path = target.with_name(f".{target.name}.lock")
    descriptor = _acquire(path, shown)
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        # Remove the file while it is locked: whoever opened it meanwhile notices, and tries again.
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):
            os.close(descriptor)


def _acquire(path: Path, shown: str) -> int:
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError as error:
            raise refuses_files(path.parent) from error
        except OSError as error:
            raise unwritable(path.parent, error) from error
        try:
            content = os.pread(descriptor, 10_000, 0) if hasattr(os, "pread") else b""
            holder = _parse(content)
            if holder is None:
                raise OutputError(f"{path}: not a lock of trf", hint="Move this file away")
            if not _try_lock(descriptor):
                raise OutputError(
                    f"{shown}: is being written by another process{_describe(holder)}",
                    hint="Wait until it ends, or choose another output",
                )
            # The previous holder may have removed the file between opening and locking.
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
                os.write(descriptor, json.dumps({"pid": os.getpid(), "command": command}).encode())
                return descriptor
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise unwritable(path.parent, error) from error
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _parse(content: bytes) -> dict[str, object] | None:
    """What a lock file says of its holder; {} if it is still empty, None if it isn't ours."""
    if not content:
        return {}
    try:
        holder = json.loads(content)
    except ValueError:
        return None
    return holder if isinstance(holder, dict) and holder.keys() == {"pid", "command"} else None


def _describe(holder: dict[str, object]) -> str:
    return f" ({holder['pid']}: {holder['command']})" if holder else ""


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        # Windows doesn't let others read what is locked, so we lock a byte far beyond the text.
        os.lseek(descriptor, 2**20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _close_inherited() -> None:
        for descriptor in _held:
            os.close(descriptor)
        _held.clear()

    os.register_at_fork(after_in_child=_close_inherited)
