"""The files of a data set: on disk, in directories and archives, or on the hub."""

import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePath
from typing import IO

from trfcli_pipeline.data.dataset import HUB, STDIN, DataSet, matches, split_part
from trfcli_pipeline.data.files import kind_of_file
from trfcli_pipeline.data.formats import FORMATS, is_data_name, suffix_of
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, quoted
from trfcli_pipeline.data.formats.streams import ZIP
from trfcli_pipeline.data.reading.hub_data import hub_files
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

STDIN_NAME = "stdin"
Opener = Callable[[], AbstractContextManager[IO[bytes]]]

_SPLITS = re.compile(
    r"(?:^|[^a-z])(train|training|test|testing|dev|valid|validation|val|eval)(?![a-z])"
)
# Files in the directory of a class, each of them a text.
_TEXT_FILES = ("", ".txt", ".text", ".md", ".html", ".htm", ".eml")


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a data set.

    Attributes:
        name: Its name for messages.
        path: Its path, or what takes the place of it; the suffix names the format.
        open: Opens it.
        selected: What of it to read, if it has several parts itself: a split, a sheet.
        label: The label of a file that is a text in the directory of a class.
    """

    name: str
    path: PurePath
    open: Opener
    selected: str | None = None
    label: str | None = None


def find_parts(data: DataSet) -> Iterator[Part]:
    """Find the files of a data set.

    Raises:
        DataError: There is no such file, or it isn't clear which file is meant.
    """
    for source in data.sources:
        if source == STDIN:
            yield Part(STDIN_NAME, PurePath("stdin.jsonl"), _open_stdin)
        elif source.startswith(HUB):
            address, _, selected = source.partition("#")
            for name, opener in _choose(source, hub_files(address), selected or None):
                yield Part(name, PurePath(name), opener)
        elif (paths := matches(source)) is not None:
            if not paths:
                raise DataError(f"{source}: no file matches")
            for path in paths:
                yield from _on_disk(path, None)
        else:
            name, part = split_part(source)
            yield from _on_disk(Path(name), part)


def _on_disk(path: Path, selected: str | None) -> Iterator[Part]:
    name = str(path)
    try:
        kind = kind_of_file(path)
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file", hint=_similar_file(path)) from error
    except OSError as error:
        raise unreadable(name, error) from error
    if kind == "a directory":
        yield from _in_directory(path, selected)
    elif kind is not None:
        # Reading a named pipe waits for a writer, and a second time for ever.
        raise DataError(
            f"{name}: {kind}, not a file", hint="Use - to read from stdin, as in: trf ... - < FILE"
        )
    elif _is_archive(path):
        yield from _in_archive(path, selected)
    else:
        yield Part(name, path, partial(_open, path), selected)


def _in_directory(path: Path, selected: str | None) -> Iterator[Part]:
    entries = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    files: dict[str, Opener] = {
        str(each): partial(_open, each) for each in entries if _is_data(each)
    }
    classes = [each for each in entries if each.is_dir()]
    if classes and not files:
        if any(map(_is_split, (each.name for each in classes))):
            raise DataError(
                f"{path}: a directory with several data sets",
                hint=f"Name one of them: {enumeration([str(each) for each in classes])}",
            )
        found = False
        for each in classes:
            for file in sorted(each.iterdir()):
                if file.is_file() and file.suffix.lower() in _TEXT_FILES:
                    found = True
                    yield Part(str(file), file, partial(_open, file), label=each.name)
        if found:
            return
    if not files:
        raise DataError(
            f"{path}: a directory without data files", hint=f"Files end in {', '.join(FORMATS)}"
        )
    for name, opener in _choose(str(path), files, selected):
        yield Part(name, Path(name), opener)


def _in_archive(path: Path, selected: str | None) -> Iterator[Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                each.filename
                for each in archive.infolist()
                if not each.is_dir()
                and not each.filename.startswith("__MACOSX")
                and _is_data(PurePath(each.filename))
            ]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a .zip file, or damaged", hint=COPY_AGAIN) from error
    if not members:
        raise DataError(f"{path}: no data file in it", hint=f"Files end in {', '.join(FORMATS)}")
    files: dict[str, Opener] = {name: partial(_open_member, path, name) for name in members}
    for name, opener in _choose(str(path), files, selected):
        yield Part(f"{path}#{name}", PurePath(name), opener)


@contextmanager
def _open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        yield file


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _choose(
    name: str,
    files: dict[str, Opener],
    selected: str | None,
) -> Iterator[tuple[str, Opener]]:
    """Choose among several files: one by its name, or all of them if they belong together."""
    if selected is not None:
        chosen = [each for each in files if selected in (each, PurePath(each).name)]
        chosen = chosen or [each for each in files if _split_of(each) == selected]
        if not chosen:
            raise DataError(
                f"{name}: has no file {quoted(selected)}",
                hint=f"Its files: {enumeration([quoted(each) for each in files])}",
            )
    else:
        chosen = list(files)
        if len(chosen) > 1 and (
            len({_split_of(each) for each in chosen}) > 1
            or len({suffix_of(PurePath(each)) for each in chosen}) > 1
        ):
            first = _split_of(chosen[0]) or PurePath(chosen[0]).name
            names = [PurePath(each).name for each in chosen]
            raise DataError(
                f"{name}: several data files: {enumeration(names)}",
                hint=f"Name one of them: {name}#{first}",
            )
    yield from ((each, files[each]) for each in chosen)


def _is_data(path: PurePath) -> bool:
    is_file = path.is_file() if isinstance(path, Path) else True
    return is_file and is_data_name(path)


def _split_of(name: str) -> str | None:
    found = _SPLITS.search(PurePath(name).name.lower())
    return found[1] if found else None


def _is_split(name: str) -> bool:
    return _split_of(name) is not None


def _is_archive(path: Path) -> bool:
    if suffix_of(path) in (".xlsx", ".docx"):
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(ZIP)) == ZIP
    except OSError as error:
        raise unreadable(str(path), error) from error


def unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read ({error.strerror or error})")


def _open_stdin() -> AbstractContextManager[IO[bytes]]:
    if sys.stdin is None:
        raise DataError("stdin: closed", hint="Give it a file: trf ... - < FILE")
    return nullcontext(sys.stdin.buffer)


def _similar_file(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"There is no directory {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else None
