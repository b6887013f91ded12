"""A file that grows beside its target, and can be continued after any interruption."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trfcli_pipeline.data.atomic import check_file
from trfcli_pipeline.errors import OutputError

_ANEW = "Start anew with --force"


class ResumableFile:
    """Chunks that are written one after the other, to be used in a `with` statement.

    They go to `NAME.partial`, and with each of them a state goes to `NAME.partial.json`: what was
    done, and how many bytes of the partial file it is. So whatever happens, the partial file is
    whole up to the state. If the `with` statement ends well, the partial file takes the target's
    place; if not, both stay for a later run.

    Args:
        target: The file.
        resume: Continue what an earlier run has left, if it has left something.
        force: Replace the target, and what an earlier run has left.

    Attributes:
        state: The last state, an earlier run's if it is continued; {} at the start.

    Raises:
        OutputError: The target can't be written, or there is something that may not be replaced,
            or can't be continued.
    """

    def __init__(self, target: Path | str, *, resume: bool, force: bool) -> None:
        self.name = str(target)
        # Through a link, the file that it leads to is replaced and not the link.
        self.target = Path(target).expanduser().resolve()
        self.partial = self.target.with_name(f"{self.target.name}.partial")
        self.state_path = self.target.with_name(f"{self.target.name}.partial.json")
        self.state: dict[str, Any] = {}
        check_file(target)
        if self.target.exists() and not self.target.is_file():
            raise OutputError(f"{self.name}: not a regular file", hint="Use - for stdout")
        left = self.state_path.exists() and self.partial.exists()
        if resume and left:
            self.state = self._read_state()
        elif self.target.exists() and not force:
            hint = "Name another file, or use --force"
            raise OutputError(f"{self.name}: exists", hint=hint)
        elif left and not force:
            hint = f"Continue it with --resume. {_ANEW}"
            raise OutputError(f"{self.partial}: an earlier run has left it unfinished", hint=hint)

    def __enter__(self) -> Self:
        try:
            # Not "ab": what an earlier run wrote after its last state is cut off.
            mode = "r+b" if self.state else "wb"
            self._file = self.partial.open(mode)
            self._file.truncate(self.state.get("bytes", 0))
            self._file.seek(0, os.SEEK_END)
            if not self.state:
                self.state_path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.name, error) from error
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if error_type is None:
                self.partial.replace(self.target)
                self.state_path.unlink(missing_ok=True)
            elif not self.state:
                self.partial.unlink(missing_ok=True)
        except OSError as failure:
            # Where the disk is full, closing fails as writing did; that error says more.
            if error_type is None:
                raise _unwritable(self.name, failure) from failure

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        """Write a chunk, and the state that is reached with it.

        Args:
            state: What a later run needs to continue from here; values that JSON has a form for.
        """
        try:
            self._file.write(chunk)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.state = {**state, "bytes": self._file.tell()}
            written = self.state_path.with_name(f"{self.state_path.name}.tmp")
            written.write_text(json.dumps(self.state), encoding="utf-8")
            written.replace(self.state_path)
        except OSError as error:
            raise _unwritable(self.name, error) from error

    def made_with_another(self, what: str) -> OutputError:
        """The error that the state is that of another `what`, such as "model"."""
        message = f"{self.partial}: made with another {what}, so it can't be continued"
        return OutputError(message, hint=_ANEW)

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self.state_path.read_bytes())
            if self.partial.stat().st_size >= state["bytes"]:
                return state
        except (OSError, ValueError, KeyError, TypeError):
            # Handled with the other kinds of damage.
            pass
        raise OutputError(f"{self.partial}: damaged, so it can't be continued", hint=_ANEW)


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(f"{name}: can't be written ({error.strerror or error})")
