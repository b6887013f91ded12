"""A file that is written in chunks, and can be continued after an interruption."""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.outputs import spaces
from trfcli_pipeline.data.outputs.claims import claimed
from trfcli_pipeline.data.outputs.files import FileKind, check_file, check_inputs, check_kind
from trfcli_pipeline.data.outputs.spaces import explained
from trfcli_pipeline.data.outputs.staging import staged_file, sweep
from trfcli_pipeline.errors import OutputError

_START_OVER = "Use --force to start over"
_GO_ON = "Free some space, then continue with --resume"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Windows would translate line ends.
_BINARY = getattr(os, "O_BINARY", 0)


class ResumableFile:
    """A file that is written in chunks inside a `with` block, which claims it.

    Chunks are appended to `NAME.partial`. After each chunk, `NAME.partial.json` is replaced: it has
    the caller's state, and the number and SHA-256 of the valid bytes in the partial file. If the
    block succeeds, the partial file is renamed to `NAME`. If not, both files remain, and a later
    run can continue from the last state.

    Args:
        target: Path of the file.
        resume: Continue the partial file of an earlier run, if there is one.
        force: Overwrite the file, and the partial file of an earlier run.
        kind: What `force` may overwrite; None for any file.
        optional: Remove the file at the end if nothing was written to it.
        models: Directories of pipelines that are read, or names of installed ones.
        data: Files that are read.

    Attributes:
        state: State after the last chunk, possibly of an earlier run; {} before the first chunk.
    """

    def __init__(
        self,
        target: Path | str,
        *,
        resume: bool,
        force: bool,
        kind: FileKind | None = None,
        optional: bool = False,
        models: Collection[str | Path] = (),
        data: Collection[DataSource | None] = (),
    ) -> None:
        self.name = str(target)
        # Replace the file that a symbolic link points to, and keep the link.
        self.target = Path(target).expanduser().resolve()
        self.partial = self.target.with_name(f"{self.target.name}.partial")
        self.state_path = self.target.with_name(f"{self.target.name}.partial.json")
        self.resume, self.force = resume, force
        self.kind, self.optional = kind, optional
        self.models, self.data = models, data
        self.state: dict[str, Any] = {}
        self._claim = ExitStack()
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        """Claim the file, and open its partial file.

        Raises:
            OutputError: The file is an input, is written by another process, can't be written, must
                not be overwritten, or can't be continued.
        """
        check_file(self.name)
        if self.target.exists() and not self.target.is_file():
            raise OutputError(f"{self.name}: not a regular file", hint="Use - for stdout")
        check_inputs(Path(self.name), models=self.models, data=self.data)
        with ExitStack() as claim:
            claim.enter_context(claimed(self.target, self.name))
            self._check()
            self._open()
            # From here on, it is `__exit__` that gives up the claim.
            self._claim = claim.pop_all()
        return self

    def __exit__(self, error_type: type[BaseException] | None, *details: Any) -> None:
        with self._claim:
            try:
                self._file.close()
                if error_type is None and self.optional and self.partial.stat().st_size == 0:
                    self._discard()
                    self.target.unlink(missing_ok=True)
                elif error_type is None:
                    self.partial.replace(self.target)
                    self.state_path.unlink(missing_ok=True)
                elif not self.state:
                    self._discard()
            except OSError as failure:
                # On a full disk, closing fails like the write before it, whose error says more.
                if error_type is None:
                    raise spaces.unwritable(self.name, failure) from failure

    def check_room(self, size: int) -> None:
        """See `spaces.check_room`."""
        spaces.check_room(self.target, size)

    def append(self, chunk: bytes, state: Mapping[str, Any]) -> None:
        """Write a chunk, and the state that is reached with it.

        Args:
            state: What a later run needs to continue from here, as JSON values.
        """
        with explained(self.name, hint=_GO_ON):
            self._file.write(chunk)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._hash.update(chunk)
            self._write_state(state)
        self.state = dict(state)

    @property
    def progress(self) -> dict[str, Any]:
        """What `rewind` needs to come back to the last state."""
        return {
            "bytes": self._file.tell(),
            "sha256": self._hash.hexdigest(),
            "state": self.state,
        }

    def rewind(self, progress: Mapping[str, Any] | None) -> None:
        """Drop what was appended after an earlier state.

        Args:
            progress: The `progress` at that state; None for the beginning.

        Raises:
            OutputError: The partial file doesn't begin with what it had then.
        """
        self._hash = hashlib.sha256()
        match progress or {"bytes": 0, "sha256": self._hash.hexdigest(), "state": {}}:
            case {"bytes": int(), "sha256": str(), "state": dict()} as known:
                with explained(self.name):
                    self._file.seek(0)
                    self._continue(known)
            case _:
                raise self._damaged(_START_OVER)

    def mismatch(self, what: str) -> OutputError:
        """Return the error for a partial file of another model or input."""
        message = f"{self.partial}: written with another {what}, so it can't be continued"
        return OutputError(message, hint=_START_OVER)

    def _check(self) -> None:
        sweep(self.state_path)
        progress = self._read_progress()
        has_chunks = progress is not None and progress["state"] != {}
        if self.resume and has_chunks:
            return
        if self.target.exists() and not self.force:
            hint = "Choose another file, or use --force to overwrite it"
            raise OutputError(f"{self.name}: already exists", hint=hint)
        if self.kind is not None:
            check_kind(self.target, self.name, self.kind)
        if has_chunks and not self.force:
            hint = f"Use --resume to continue it. {_START_OVER}"
            raise OutputError(f"{self.partial}: left by an interrupted run", hint=hint)

    def _open(self) -> None:
        progress = self._read_progress()
        with explained(self.name, hint=_GO_ON):
            if self.resume and progress is not None and progress["state"] != {}:
                self._file = os.fdopen(
                    os.open(self.partial, os.O_RDWR | _NO_FOLLOW | _BINARY), "r+b"
                )
                try:
                    self._continue(progress)
                except BaseException:
                    self._file.close()
                    raise
            else:
                self._discard()
                # The state is there first, so that a partial file without one isn't ours.
                self._write_state({})
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
                self._file = os.fdopen(os.open(self.partial, flags, 0o666), "r+b")

    def _continue(self, progress: Mapping[str, Any]) -> None:
        """Check the valid bytes of the partial file, and go to their end."""
        left = progress["bytes"]
        while chunk := self._file.read(min(left, 2**20)):
            self._hash.update(chunk)
            left -= len(chunk)
        if left or self._hash.hexdigest() != progress["sha256"]:
            raise self._damaged(_START_OVER)
        self._file.truncate(progress["bytes"])
        self._file.seek(0, os.SEEK_END)
        self.state = progress["state"]

    def _discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)

    def _write_state(self, state: Mapping[str, Any]) -> None:
        size = self._file.tell() if state else 0
        progress = {"bytes": size, "sha256": self._hash.hexdigest(), "state": state}
        with staged_file(self.state_path) as staging:
            staging.write_text(json.dumps(progress), encoding="utf8")

    def _read_progress(self) -> dict[str, Any] | None:
        """Read what an earlier run has left; None if it has left nothing.

        Raises:
            OutputError: Files that aren't ours have these names, or the state is damaged.
        """
        for path in (self.partial, self.state_path):
            if (path.exists() or path.is_symlink()) and not _is_plain(path):
                raise self._foreign(path)
        if not self.partial.exists():
            # Left by a process that was killed while it removed or renamed the partial file.
            return None
        if not self.state_path.exists():
            raise self._foreign(self.partial)
        try:
            progress: Any = json.loads(self.state_path.read_bytes())
        except (ValueError, RecursionError) as error:
            hint = f"Delete it and {self.state_path.name} to start over"
            raise self._damaged(hint) from error
        if not isinstance(progress, dict) or progress.keys() != {"bytes", "sha256", "state"}:
            raise self._foreign(self.state_path)
        return progress

    def _damaged(self, hint: str) -> OutputError:
        return OutputError(f"{self.partial}: damaged, can't be continued", hint=hint)

    @staticmethod
    def _foreign(path: Path) -> OutputError:
        return OutputError(
            f"{path}: exists, but is not from an interrupted run", hint="Move it away"
        )


def _is_plain(path: Path) -> bool:
    """Whether a path is a file with only this name, and not a link to one."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
