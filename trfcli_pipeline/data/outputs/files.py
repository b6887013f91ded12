"""Files that commands write: recognized, locked, checked, and replaced in one step."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.files import is_same_file
from trfcli_pipeline.data.outputs.claims import claimed
from trfcli_pipeline.data.outputs.manifest import list_files, read_manifest
from trfcli_pipeline.data.outputs.spaces import check_path, explained
from trfcli_pipeline.data.outputs.staging import staged_file
from trfcli_pipeline.errors import OutputError


@dataclass(frozen=True, slots=True)
class Edits:
    """What people add to a file of `trf`, which must not be lost.

    Attributes:
        name: What it is, as in "corrections".
        are_in: Whether a file of this kind has any.
        hint: What to do instead of replacing the file.
    """

    name: str
    are_in: Callable[[Path], bool]
    hint: str = "Choose another file"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that `trf` writes.

    Attributes:
        name: What it is, as in "a report of trf evaluate".
        recognizes: Whether a file is one of this kind.
        edits: What people add to such a file. With it, the file isn't replaced.
    """

    name: str
    recognizes: Callable[[Path], bool]
    edits: Edits | None = None


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that this process has claimed for writing."""

    path: Path

    def write(self, text: str) -> None:
        """Write the file as UTF-8, in one step. Pipes and devices are written to directly.

        Raises:
            OutputError: It can't be written.
        """
        if is_stream(self.path):
            with explained(self.path):
                self.path.write_text(text, encoding="utf8")
            return
        with staged_file(self.path) as staging:
            staging.write_text(text, encoding="utf8")


@contextmanager
def open_file(
    path: Path,
    kind: FileKind,
    *,
    models: Collection[str | Path] = (),
    data: Collection[DataSource | None] = (),
) -> Iterator[OutputFile]:
    """Claim a file for writing: lock it, and check it before any work.

    Args:
        path: The file, which may not exist yet.
        kind: What may be replaced there, beside an empty file.
        models: Directories of pipelines that are read, or names of installed ones.
        data: Files that are read. None and "-" are ignored.

    Raises:
        ArgumentError: The path is "-".
        OutputError: The file is used by another process, is an input, isn't one of this kind, was
            edited, or can't be written.
    """
    check_file(path)
    if is_stream(path):
        yield OutputFile(path)
        return
    check_inputs(path, models=models, data=data)
    target = path.expanduser().resolve()
    with claimed(target, str(path)):
        check_kind(target, str(path), kind)
        yield OutputFile(target)


def check_file(path: Path | str) -> None:
    """Check that a path can become a file.

    Raises:
        ArgumentError: It is "-".
        OutputError: The path is a directory, or its parent directory doesn't exist
            or is a file.
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise OutputError(f"{path}: a directory, not a file", hint="Give the path of a file in it")
    check_path(Path(path))
    if not target.parent.is_dir():
        raise OutputError(
            f"{Path(path).parent}: there is no such directory", hint="Create it first"
        )


def check_kind(target: Path, shown: str, kind: FileKind) -> None:
    """Check that what is at the path of an output may be replaced, if there is anything.

    Raises:
        OutputError: It isn't of this kind, nor empty; or people have edited it.
    """
    if not target.exists() or not target.stat().st_size:
        return
    if not kind.recognizes(target):
        raise OutputError(
            f"{shown}: already exists and is not {kind.name}", hint="Choose another file"
        )
    if kind.edits is not None and kind.edits.are_in(target):
        raise OutputError(f"{shown}: already has {kind.edits.name}", hint=kind.edits.hint)


def check_inputs(
    path: Path,
    *,
    models: Collection[str | Path] = (),
    data: Collection[DataSource | None] = (),
) -> None:
    """Check that an output file is none of the inputs, under whatever name.

    Raises:
        OutputError: It is an input, or a file of an input pipeline.
    """
    target = path.expanduser()
    if not target.exists():
        return
    for each in data:
        paths = [] if each is None else as_dataset(each).paths()
        if any(is_same_file(input_.expanduser(), target) for input_ in paths):
            raise OutputError(f"{path}: is the input", hint="Choose another file")
    for model in models:
        folder = Path(model).expanduser()
        if not folder.is_dir():
            continue
        names = read_manifest(folder) or list_files(folder)
        if any(is_same_file(folder / name, target) for name in names):
            raise OutputError(
                f"{path}: is a file of the input pipeline", hint="Choose another file"
            )


def check_distinct(*paths: Path | None) -> None:
    """Check that the outputs of a command are different files.

    Raises:
        OutputError: Two of them are the same file, which isn't a pipe or device.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        if path is None or is_stream(path):
            continue
        target = path.expanduser().resolve()
        if target in seen or any(is_same_file(target, other) for other in seen):
            raise OutputError(
                f"{path}: can't be two outputs at the same time", hint="Choose another file"
            )
        seen[target] = path


def is_stream(path: Path) -> bool:
    """Whether a path is that of a pipe or device, which isn't replaced but written to."""
    target = path.expanduser()
    return target.exists() and not target.is_file() and not target.is_dir()
