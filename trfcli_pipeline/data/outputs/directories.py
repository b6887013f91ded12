"""Directories that commands write: recognized, locked, checked, and replaced in one step."""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.files import is_same_file, kind_of_file
from trfcli_pipeline.data.outputs import spaces, staging
from trfcli_pipeline.data.outputs.claims import claimed
from trfcli_pipeline.errors import OutputError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of directory that `trf` writes.

    Attributes:
        name: What it is, as in "a spaCy pipeline".
        own_files: The relative paths of the files that make up such a directory; None if a
            directory isn't one of this kind.
    """

    name: str
    own_files: Callable[[Path], frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class OutputDirectory:
    """A directory that this process has claimed for writing.

    Attributes:
        target: Its resolved path.
        own: Relative paths of what will be replaced in it. Other files stay.
    """

    target: Path
    own: Collection[str]

    def staged(self) -> AbstractContextManager[Path]:
        """A directory to write to, which replaces the target at the end of the block."""
        return staging.staged_directory(self.target, self.own)

    def check_room(self, size: int) -> None:
        """See `spaces.check_room`."""
        spaces.check_room(self.target, size)


@contextmanager
def open_directory(
    path: Path,
    kind: Kind,
    *,
    force: bool,
    models: Collection[str | Path] = (),
    data: Collection[DataSource | None] = (),
    in_place: bool = False,
) -> Iterator[OutputDirectory]:
    """Claim a directory for writing: lock it, and check it before any work.

    Args:
        path: The directory, which may not exist yet.
        kind: What may be replaced there.
        force: Whether an existing directory of this kind may be replaced.
        models: Directories of pipelines that are read, or names of installed ones.
        data: Files that are read. None and "-" are ignored.
        in_place: Whether the first of the models may be the output itself.

    Raises:
        ArgumentError: The path is "-".
        OutputError: The directory is used by another process, is or contains an input, has
            something else in it, or can't be written.
    """
    shown = str(path)
    target = path.expanduser().resolve()
    check_directory(path)
    for number, model in enumerate(models):
        _check_model(target, shown, Path(model).expanduser(), in_place=in_place and number == 0)
    with claimed(target, shown):
        own = _check_content(target, shown, kind, force=force)
        for each in data:
            if each is not None:
                for file in as_dataset(each).paths():
                    _check_data(target, shown, file.expanduser(), own)
        yield OutputDirectory(target, own)


def check_directory(path: Path) -> None:
    """Check that a path can become a directory.

    Raises:
        ArgumentError: It is "-".
        OutputError: It or one of its parents is a file.
    """
    target = path.expanduser()
    if target.exists() and not target.is_dir():
        kind = kind_of_file(target) or "a file"
        raise OutputError(f"{path}: is {kind}", hint="Use a directory")
    spaces.check_path(path)


def _check_model(target: Path, shown: str, model: Path, *, in_place: bool) -> None:
    if not model.is_dir():
        return
    source = model.resolve()
    if source == target or is_same_file(source, target):
        if not in_place:
            raise OutputError(f"{shown}: is the input", hint="Name another directory")
    elif source.is_relative_to(target):
        raise OutputError(f"{shown}: contains the input, {model}", hint="Name another directory")
    elif target.is_relative_to(source):
        raise OutputError(f"{shown}: is inside the input, {model}", hint="Name another directory")


def _check_data(target: Path, shown: str, path: Path, own: Collection[str]) -> None:
    if path.is_file() and any(is_same_file(path, target / name) for name in own):
        raise OutputError(
            f"{shown}: {path} is one of the files to be replaced, and an input",
            hint="Copy it to another directory",
        )


def _check_content(target: Path, shown: str, kind: Kind, *, force: bool) -> frozenset[str]:
    if not target.exists():
        return frozenset()
    _check_replaceable(target, shown)
    entries = sorted(entry.name for entry in target.iterdir())
    if not entries:
        return frozenset()
    own = kind.own_files(target)
    if own is None:
        names = f"{', '.join(entries[:3])}{' ...' if len(entries) > 3 else ''}"
        raise OutputError(
            f"{shown}: exists and is not {kind.name} (it has {names})",
            hint="Use another directory",
        )
    if not force:
        raise OutputError(f"{shown}: already exists", hint="Use another directory, or --force")
    return own


def _check_replaceable(target: Path, shown: str) -> None:
    """Check that a directory can be renamed, and that its files can be moved out of it."""
    if os.path.ismount(target):
        raise OutputError(
            f"{shown}: is a mount point, which can't be replaced",
            hint=f"Use a directory in it: {Path(shown) / 'model'}",
        )
    for folder, directories, _ in os.walk(target):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{folder}: not writable (Permission denied)")
        for name in directories:
            if os.path.ismount(Path(folder) / name):
                raise OutputError(
                    f"{shown}: contains a mount point, {name}", hint="Use another directory"
                )
    parent = target.parent.stat()
    if hasattr(os, "geteuid") and parent.st_mode & stat.S_ISVTX:
        user = os.geteuid()
        if user not in (0, parent.st_uid, target.stat().st_uid):
            raise OutputError(f"{shown}: belongs to another user", hint="Use another directory")
