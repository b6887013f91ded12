"""Files that don't fit in memory once they are unpacked, and files that aren't files."""

import gzip
import io
import os
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from trfcli_pipeline.data.formats import docbin, rows
from trfcli_pipeline.data.reading import Reading
from trfcli_pipeline.errors import DataError

MIB = 2**20
# A MiB of one letter takes a kilobyte as a member of a .gz file.
MEMBER = gzip.compress(b"a" * MIB, mtime=0)


def problem_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(Reading(path, labeled=False))
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.jsonl", b'{"text": "'), ("a.txt", b""), ("a.csv", b"text\n"), ("a.tsv", b"text\n")],
)
def test_line_of_4_gib_in_a_gz_file_of_4_mib_ends_in_one_line(
    tmp_path: Path, name: str, start: bytes
) -> None:
    path = tmp_path / f"{name}.gz"
    with path.open("wb") as file:
        file.write(gzip.compress(start, mtime=0))
        for _ in range(4096):
            file.write(MEMBER)
    assert path.stat().st_size < 5 * MIB
    tracemalloc.start()
    number = 1 + start.count(b"\n")
    assert problem_of(path) == f"{path}, line {number}: longer than 64 MiB"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The line is joined from the pieces that it was read in.
    assert peak < 2.5 * 64 * MIB


def test_longest_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b"a" * 99 + b"\n"
    monkeypatch.setattr(rows.bounded_lines, "__kwdefaults__", {"longest": 100})
    (tmp_path / "a.txt").write_bytes(line * 3)
    assert len(list(Reading(tmp_path / "a.txt", labeled=False))) == 3
    (tmp_path / "a.txt").write_bytes(line * 2 + b"a" + line)
    assert "a.txt, line 3: longer than" in problem_of(tmp_path / "a.txt")


def test_field_of_many_lines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.data.formats.tables.LONGEST_LINE", 1000)
    (tmp_path / "a.csv").write_bytes(b'text\n"' + b"a\n" * 1000)
    assert "a.csv, line 2: not valid CSV (field larger than field limit" in problem_of(
        tmp_path / "a.csv"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"[" + b" " * 2000),
        ("a.json", b"[\n" * 2000),
        ("a.spacy", b"a" * 2000),
        ("a.spacy", zlib.compress(b"a" * 2000)),
    ],
)
def test_files_that_are_read_as_a_whole_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    for module in (rows, "trfcli_pipeline.data.formats.json"):
        target = f"{module if isinstance(module, str) else module.__name__}.LARGEST_WHOLE"
        monkeypatch.setattr(target, 1000)
    monkeypatch.setattr(docbin, "_STEP", 100)
    (tmp_path / name).write_bytes(content)
    assert ": larger than" in problem_of(tmp_path / name) or ": longer" in problem_of(
        tmp_path / name
    )


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (make_pipe, "a named pipe, not a file"),
        (make_device, "a device, not a file"),
        (make_loop, "can't be read (Too many levels of symbolic links)"),
    ],
)
def test_what_is_not_a_file_is_not_opened(
    tmp_path: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(tmp_path / "a.jsonl")
    with pytest.raises(DataError) as caught:
        Reading(tmp_path / "a.jsonl", labeled=False)
    assert caught.value.message == f"{tmp_path / 'a.jsonl'}: {problem}"


def test_closed_stdin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="stdin: closed"):
        list(Reading("-", labeled=False))


def test_rest_of_a_whole_file_is_read_with_its_start() -> None:
    assert rows.read_whole(io.BytesIO(b"c"), "a", b"ab") == b"abc"
