"""The claim on an output: nobody else writes it, and it can be written."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trfcli_pipeline.data.outputs.locks import locked
from trfcli_pipeline.data.outputs.spaces import explained, refuses_files, unwritable
from trfcli_pipeline.data.outputs.staging import sweep, workspace_beside

_PROBE = b"trf" * 2**10


@contextmanager
def claimed(target: Path, shown: str) -> Iterator[None]:
    """Lock an output, sweep what killed runs left of it, and try to write next to it.

    Missing parent directories are created, and removed again if they are still empty at the end.
    If the block is interrupted after the output was replaced, the exception gets a note about it.

    Args:
        target: The resolved path of the output.
        shown: The path as the user wrote it.

    Raises:
        OutputError: Another process writes the output, or it can't be written.
    """
    created = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        raise refuses_files(next(each for each in target.parents if each.exists())) from error
    except OSError as error:
        raise unwritable(target.parent, error) from error
    try:
        with locked(target, shown):
            sweep(target)
            _try_to_write(target)
            before = _identify(target)
            try:
                yield
            except KeyboardInterrupt as error:
                if _identify(target) != before:
                    error.add_note(f"{shown} was already saved")
                raise
    finally:
        for parent in created:
            with suppress(OSError):
                parent.rmdir()


def _identify(path: Path) -> int | None:
    # Outputs are replaced by a rename, so each has a number of its own.
    return path.stat().st_ino if path.exists() else None


def _try_to_write(target: Path) -> None:
    with workspace_beside(target) as folder, explained(target.parent):
        file = folder / target.name
        file.write_bytes(_PROBE)
        file.rename(folder / "renamed")
