"""The files that a user means by a data set: a file, a pattern, a directory, an archive, the hub."""

import glob
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePath
from typing import IO

from trfcli_pipeline.data.files import kind_of_file
from trfcli_pipeline.data.formats import FORMATS, STDIN, suffix_of
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, quoted
from trfcli_pipeline.data.formats.streams import ZIP
from trfcli_pipeline.data.reading.hub_data import HUB, hub_files
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

STDIN_NAME = "stdin"
Source = str | Path | Sequence[str | Path]

_SPLITS = re.compile(r"(?:^|[^a-z])(train|training|test|testing|dev|valid|validation|val|eval)(?![a-z])")
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
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    selected: str | None = None
    label: str | None = None


def find_parts(source: Source) -> Iterator[Part]:
    """Find the files of a data set.

    Args:
        source: "-" for stdin, a path, a pattern such as "data/*.csv", a directory with data files
            or with a directory of texts for each class, "hf://datasets/user/name", or several of
            these. After "#" may follow the part of a file: "book.xlsx#Sheet2".

    Raises:
        DataError: There is no such file, or it isn't clear which file is meant.
    """
    if not isinstance(source, str | Path):
        for each in source:
            yield from find_parts(each)
        return
    name = str(source)
    if name == STDIN:
        yield Part(STDIN_NAME, PurePath("stdin.jsonl"), _open_stdin)
    elif name.startswith(HUB):
        path, _, selected = name.partition("#")
        for each, file in _choose(name, hub_files(path), selected or None):
            yield Part(each, PurePath(each), file)
    elif not os.path.lexists(name) and glob.has_magic(name):
        paths = sorted(glob.glob(name, recursive=True))
        if not paths:
            raise DataError(f"{name}: no file matches", hint=None)
        yield from (part for path in paths for part in _on_disk(Path(path), None))
    else:
        path, selected = name, None
        if "#" in name and not os.path.lexists(name):
            path, _, selected = name.rpartition("#")
        yield from _on_disk(Path(path), selected)


def paths_of(source: Source) -> list[Path]:
    """The paths on disk that a source names, as far as they exist: no output may be one of them."""
    if not isinstance(source, str | Path):
        return [path for each in source for path in paths_of(each)]
    name = str(source)
    if name == STDIN or name.startswith(HUB):
        return []
    if not os.path.lexists(name):
        if glob.has_magic(name):
            return [Path(path) for path in sorted(glob.glob(name, recursive=True))]
        name = name.rpartition("#")[0] or name
    return [Path(name)]


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
        yield Part(name, path, partial(path.open, "rb"), selected)


def _in_directory(path: Path, selected: str | None) -> Iterator[Part]:
    entries = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    files = {str(each): partial(each.open, "rb") for each in entries if _is_data(each)}
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
                    yield Part(str(file), file, partial(file.open, "rb"), label=each.name)
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
        raise DataError(
            f"{path}: no data file in it", hint=f"Files end in {', '.join(FORMATS)}"
        )
    files = {name: partial(_open_member, path, name) for name in members}
    for name, opener in _choose(str(path), files, selected):
        yield Part(f"{path}#{name}", PurePath(name), opener)


class _open_member:  # noqa: N801
    """Opens a member of an archive, and closes both."""

    def __init__(self, path: Path, name: str) -> None:
        self.archive = zipfile.ZipFile(path)
        self.file = self.archive.open(name)

    def __enter__(self) -> IO[bytes]:
        return self.file

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.archive.close()


def _choose(
    name: str,
    files: dict[str, Callable[[], AbstractContextManager[IO[bytes]]]],
    selected: str | None,
) -> Iterator[tuple[str, Callable[[], AbstractContextManager[IO[bytes]]]]]:
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
            raise DataError(
                f"{name}: several data files: {enumeration([PurePath(each).name for each in chosen])}",
                hint=f"Name one of them: {name}#{first}",
            )
    yield from ((each, files[each]) for each in chosen)


def _is_data(path: PurePath) -> bool:
    is_file = path.is_file() if isinstance(path, Path) else True
    return is_file and suffix_of(path) in FORMATS and not path.name.startswith("labels.")


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
