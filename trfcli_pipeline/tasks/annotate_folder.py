"""Annotate all data files of a folder."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.formats import FORMATS, WRITERS, is_data_name, suffix_of
from trfcli_pipeline.errors import DataError, OutputError
from trfcli_pipeline.tasks.annotate import AnnotationEvent, annotate


@dataclass(frozen=True, slots=True)
class FileStarted:
    """The events of another file follow.

    Attributes:
        number: Its number, counted from 1, out of `total`.
        source: Its path.
        output: What is written for it.
    """

    number: int
    total: int
    source: Path
    output: Path


def annotate_folder(
    model: str,
    source: DataSource,
    output: Path,
    *,
    resume: bool = False,
    force: bool = False,
    **options: Any,
) -> Generator[FileStarted | AnnotationEvent, None, None]:
    """Annotate each data file of a folder and its subfolders, one after the other.

    An output has the name of its file, in the same subfolder. For a format that can only be read,
    it is JSONL, and its name ends in ".jsonl".

    Args:
        model: Directory of a pipeline, or name of an installed one.
        source: The folder, and the layout of its files. Names that start with "." or "_" and
            those of unknown formats are passed over.
        output: The folder for the outputs.
        resume: Leave out files that have an output already, and continue with the one that was
            interrupted.
        force: Overwrite existing outputs.
        **options: See `annotate`.

    Raises:
        DataError: The folder has no data files.
        OutputError: An output exists, or the folders contain each other.
    """
    data = as_dataset(source)
    folder = Path(str(data))
    if output.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{output}: is inside the input, {source}", hint="Name another directory")
    pairs = [(path, output / _output_name(path.relative_to(folder))) for path in _files(folder)]
    if not pairs:
        raise DataError(f"{source}: has no data files", hint=f"Use {', '.join(FORMATS)}")
    done = [target for _, target in pairs if target.exists()]
    if done and not resume and not force:
        raise OutputError(
            f"{done[0]}: already exists",
            hint="Use --resume to annotate only the other files, or --force to start over",
        )
    for number, (path, target) in enumerate(pairs, start=1):
        if resume and target in done:
            continue
        with _directory(target.parent):
            yield FileStarted(number, len(pairs), path, target)
            file = replace(data, sources=(str(path),))
            yield from annotate(model, file, str(target), resume=resume, force=force, **options)


@contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Create a directory with its parents. If the block fails, those that stayed empty go away."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in missing:
                each.rmdir()
        raise


def _files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and is_data_name(path)
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )


def _output_name(path: Path) -> Path:
    return path if suffix_of(path) in WRITERS else path.with_name(f"{path.name}.jsonl")
