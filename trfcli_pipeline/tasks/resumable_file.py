"""A file that is written in chunks, and can be continued after an interruption."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from trfcli_pipeline.data.atomic import check_file, write_text
from trfcli_pipeline.errors import OutputError

_START_OVER = "Use --force to start over"


class ResumableFile:
    """A file that is written in chunks inside a `with` block.

    Chunks are appended to `NAME.partial`. After each chunk, `NAME.partial.json` is replaced: it has
    the caller's state and the number of valid bytes in the partial file. If the block succeeds, the
    partial file is renamed to `NAME`. If not, both files remain, and a later run can continue from
    the last state.

    Args:
        target: Path of the file.
        resume: Continue the partial file of an earlier run, if there is one.
        force: Overwrite the file, and the partial file of an earlier run.

    Attributes:
        state: State after the last chunk, possibly of an earlier run; {} before the first chunk.

    Raises:
        OutputError: The file can't be written, must not be overwritten, or can't be continued.
    """

    def __init__(self, target: Path | str, *, resume: bool, force: bool) -> None:
        self.name = str(target)
        # Replace the file that a symbolic link points to, and keep the link.
        self.target = Path(target).expanduser().resolve()
        self.partial = self.target.with_name(f"{self.target.name}.partial")
        self.state_path = self.target.with_name(f"{self.target.name}.partial.json")
        self.state: dict[str, Any] = {}
        check_file(target)
        if self.target.exists() and not self.target.is_file():
            raise OutputError(f"{self.name}: not a regular file", hint="Use - for stdout")
        unfinished = self.state_path.exists() and self.partial.exists()
        if resume and unfinished:
            self.state = self._read_state()
        elif self.target.exists() and not force:
            hint = "Choose another file, or use --force to overwrite it"
            raise OutputError(f"{self.name}: already exists", hint=hint)
        elif unfinished and not force:
            hint = f"Use --resume to continue it. {_START_OVER}"
            raise OutputError(f"{self.partial}: left by an interrupted run", hint=hint)

    def __enter__(self) -> Self:
        try:
            # The mode "ab" couldn't overwrite what follows the valid bytes.
            self._file = self.partial.open("r+b" if self.state else "wb")
            self._file.truncate(self.state.get("bytes", 0))
            self._file.seek(0, os.SEEK_END)
            if not self.state:
                self.state_path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.name, error) from error
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
            if error_type is None:
                self.partial.replace(self.target)
                self.state_path.unlink(missing_ok=True)
            elif not self.state:
                self.partial.unlink(missing_ok=True)
        except OSError as failure:
            # On a full disk, closing fails like the write before it, whose error says more.
            if error_type is None:
                raise _unwritable(self.name, failure) from failure

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        """Write a chunk, and the state that is reached with it.

        Args:
            state: What a later run needs to continue from here, as JSON values.
        """
        try:
            self._file.write(chunk)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.name, error) from error
        self.state = {**state, "bytes": self._file.tell()}
        write_text(self.state_path, json.dumps(self.state))

    def mismatch(self, what: str) -> OutputError:
        """Return the error for a partial file of another model or input."""
        message = f"{self.partial}: written with another {what}, so it can't be continued"
        return OutputError(message, hint=_START_OVER)

    def _read_state(self) -> dict[str, Any]:
        damaged = OutputError(f"{self.partial}: damaged, can't be continued", hint=_START_OVER)
        try:
            state: dict[str, Any] = json.loads(self.state_path.read_bytes())
            complete = self.partial.stat().st_size >= state["bytes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise damaged from error
        if not complete:
            raise damaged
        return state


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(f"{name}: can't be written ({error.strerror or error})")
