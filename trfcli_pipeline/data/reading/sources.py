"""The files of a data set: on disk, in directories and archives, or on the hub."""

import re
import shlex
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import IO

from trfcli_pipeline.data.dataset import HUB, STDIN, DataSet, matches, split_part
from trfcli_pipeline.data.files import kind_of_file, similar_file
from trfcli_pipeline.data.formats import FORMATS, is_data_name, suffix_of
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, quoted
from trfcli_pipeline.data.formats.streams import ZIP
from trfcli_pipeline.data.reading.hub_data import hub_files
from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import DataError

_TAR_SUFFIXES = (".tar", ".tgz", ".tbz2", ".txz")
# The bit of a file's flags in an archive that says that it needs a password.
_ENCRYPTED = 1
Opener = Callable[[], AbstractContextManager[IO[bytes]]]

_SPLITS = re.compile(
    r"(?:^|[^a-z])(train|training|test|testing|dev|valid|validation|val|eval)(?![a-z])"
)
# A directory that has one of these is a model, whose other files aren't data either.
_MODEL_FILES = ("config.json", "config.cfg")
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
        is_stdin: Whether it is stdin, which can be read once, and may not be complete yet.
    """

    name: str
    path: PurePath
    open: Opener
    selected: str | None = None
    label: str | None = None
    is_stdin: bool = False


def find_parts(data: DataSet) -> Iterator[Part]:
    """Find the files of a data set.

    Raises:
        DataError: There is no such file, or it isn't clear which file is meant.
    """
    for source in data.sources:
        if source == STDIN:
            yield Part("stdin", PurePath("stdin.jsonl"), _open_stdin, is_stdin=True)
        elif source.startswith(HUB):
            address, _, selected = source.partition("#")
            for name, opener in _choose(source, hub_files(address), selected or None):
                yield Part(name, PurePath(name), opener)
        elif (paths := matches(source)) is not None:
            if not paths:
                raise DataError(
                    f"{source}: no file matches",
                    hint="A pattern is relative to the current directory, as in 'data/*.csv'",
                )
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
        raise DataError(f"{name}: no such file", hint=similar_file(path)) from error
    except OSError as error:
        raise unreadable(name, error) from error
    if kind == "a directory":
        yield from _in_directory(path, selected)
    elif kind is not None:
        # Reading a named pipe waits for a writer, and a second time for ever.
        raise DataError(
            f"{name}: {kind}, not a file", hint="Use - to read from stdin, as in: trf ... - < FILE"
        )
    elif suffix_of(path) in _TAR_SUFFIXES:
        raise DataError(
            f"{name}: an archive of files",
            hint=f"Unpack it first: tar -xf {shlex.quote(name)}. Then name a file",
        )
    elif _is_archive(path):
        yield from _in_archive(path, selected)
    else:
        yield Part(name, path, partial(open_path, path), selected)


def _in_directory(path: Path, selected: str | None) -> Iterator[Part]:
    if any((path / name).is_file() for name in _MODEL_FILES):
        raise DataError(
            f"{path}: the directory of a model, not of data",
            hint="Name a data file, or a directory with data files",
        )
    entries = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    files: dict[str, Opener] = {
        str(each): partial(open_path, each) for each in entries if _is_data(each)
    }
    inner = [each for each in entries if each.is_dir()]
    if selected is not None and path / selected in inner:
        yield from _in_directory(path / selected, None)
        return
    if inner and not _without_notes(files):
        if any(map(_is_split, (each.name for each in inner))):
            raise DataError(
                f"{path}: a directory with several data sets",
                hint=f"Name one of them: {enumeration([str(each) for each in inner])}",
            )
        texts = [(each, file) for each in inner for file in _texts_in(each)]
        if len({each for each, _ in texts}) > 1:
            for each, file in texts:
                yield Part(str(file), file, partial(open_path, file), label=each.name)
            return
        if len(inner) == 1:
            yield from _in_directory(inner[0], selected)
            return
    if not files:
        raise DataError(
            f"{path}: a directory without data files", hint=f"Files end in {', '.join(FORMATS)}"
        )
    for name, opener in _choose(str(path), files, selected):
        yield Part(name, Path(name), opener)


def _texts_in(directory: Path) -> Iterator[Path]:
    """The files that are texts in the directory of a class."""
    for file in sorted(directory.rglob("*")):
        is_hidden = any(part.startswith(".") for part in file.relative_to(directory).parts)
        if not is_hidden and file.suffix.lower() in _TEXT_FILES and file.is_file():
            yield file


def _in_archive(path: Path, selected: str | None) -> Iterator[Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [each for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a .zip file, or damaged", hint=COPY_AGAIN) from error
    unpack = f"Unpack it first: unzip {shlex.quote(str(path))}"
    if any(each.flag_bits & _ENCRYPTED for each in infos):
        raise DataError(f"{path}: protected by a password", hint=unpack)
    members = [
        PurePath(each.filename)
        for each in infos
        if not any(part.startswith((".", "__MACOSX")) for part in PurePath(each.filename).parts)
    ]
    if PurePath("content.xml") in members:
        raise DataError(
            f"{path}: a document of LibreOffice", hint="Save it in LibreOffice as .xlsx or .csv"
        )
    files: dict[str, Opener] = {
        str(each): partial(_open_member, path, str(each)) for each in members if _is_data(each)
    }
    if not files:
        raise DataError(f"{path}: no data file in it", hint=f"{unpack}. Then name a file")
    classes = {each.parent for each in members if suffix_of(each) in _TEXT_FILES}
    if selected is None and not _without_notes(files) and len(classes) > 1:
        if any(map(_is_split, (part for each in classes for part in each.parts))):
            raise DataError(f"{path}: has several data sets", hint=f"{unpack}. Then name one")
        for name, opener in files.items():
            member = PurePath(name)
            yield Part(f"{path}#{name}", member, opener, label=member.parent.name or None)
        return
    for name, opener in _choose(str(path), files, selected):
        yield Part(f"{path}#{name}", PurePath(name), opener)


@contextmanager
def _open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        yield file


def open_path(path: Path) -> IO[bytes]:
    return path.open("rb")


def _without_notes(files: dict[str, Opener]) -> dict[str, Opener]:
    """The files other than .txt files, which are often notes about the others."""
    return {name: each for name, each in files.items() if suffix_of(PurePath(name)) != ".txt"}


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
        chosen = list(_without_notes(files) or files)
        if len(chosen) > 1 and (
            len({_split_of(each) for each in chosen}) > 1
            or len({suffix_of(PurePath(each)) for each in chosen}) > 1
        ):
            first = next((each for each in chosen if "train" in (_split_of(each) or "")), chosen[0])
            first = PurePath(first).name
            names = [PurePath(each).name for each in chosen]
            raise DataError(
                f"{name}: several data files: {enumeration(names)}",
                hint=f"Name one of them: {shlex.quote(f'{name}#{first}')}",
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
    """Whether a file is a .zip file, other than an Excel file, whatever its name says."""
    if suffix_of(path) == ".xlsx":
        return False
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP)) != ZIP:
                return False
            with zipfile.ZipFile(file) as archive:
                return "xl/workbook.xml" not in archive.namelist()
    except zipfile.BadZipFile:
        return True
    except OSError as error:
        raise unreadable(str(path), error) from error


def unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read ({error.strerror or error})")


def _open_stdin() -> AbstractContextManager[IO[bytes]]:
    if sys.stdin is None:
        raise DataError("stdin: closed", hint="Give it a file: trf ... - < FILE")
    return nullcontext(sys.stdin.buffer)
