"""Errors about data files as a whole."""

import gzip
from pathlib import Path

import pytest
from data_files import as_parquet, as_spacy, jsonl, put

from trfcli_pipeline.data.reading import Reading, read_records
from trfcli_pipeline.errors import DataError


def test_missing_file(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", b"")
    with pytest.raises(DataError) as caught:
        Reading(tmp_path / "trian.jsonl", labeled=True)
    assert caught.value.message == f"{tmp_path / 'trian.jsonl'}: no such file"
    assert caught.value.hint == f"Did you mean {tmp_path / 'train.jsonl'}?"

    with pytest.raises(DataError) as caught:
        Reading(tmp_path / "nowhere" / "train.jsonl", labeled=True)
    assert caught.value.hint == f"There is no directory {tmp_path / 'nowhere'}"

    with pytest.raises(DataError) as caught:
        Reading(tmp_path / "x", labeled=True)
    assert caught.value.hint is None


@pytest.mark.parametrize(
    ("name", "labeled", "problem", "hint"),
    [
        ("data.pdf", True, 'unknown suffix ".pdf"', "Use .jsonl, .ndjson, .json, .csv, .tsv"),
        ("data.pdf.gz", True, 'unknown suffix ".pdf"', "Use "),
        ("data", True, "no suffix, so the format is unknown", "Use "),
        ("data.gz", True, "no suffix, so the format is unknown", "Use "),
    ],
)
def test_unknown_suffix_or_format_without_labels(
    tmp_path: Path, name: str, labeled: bool, problem: str, hint: str
) -> None:
    path = put(tmp_path / name, b"")
    with pytest.raises(DataError) as caught:
        Reading(path, labeled=labeled)
    assert caught.value.message == f"{path}: {problem}"
    assert (caught.value.hint or "").startswith(hint)


def test_text_file_without_labels(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", b"a\n")
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=True)
    assert caught.value.message == f"{path}: one text per line, but labels are needed"


def test_directories_and_invalid_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a directory without data files"):
        Reading(tmp_path, labeled=True)
    inside_a_file = put(tmp_path / "a.txt", b"") / "b.txt"
    with pytest.raises(DataError, match=r"can't be read \(Not a directory\)"):
        Reading(inside_a_file, labeled=False)
    with pytest.raises(DataError, match=r"can't be read \(File name too long\)"):
        Reading("a whole text instead of a path " * 300, labeled=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"\n \r\n"),
        ("a.jsonl.gz", b""),
        ("a.json", b""),
        ("a.json", b" [ ] \n"),
        ("a.csv", b""),
        ("a.csv", b"text,label\n"),
        ("a.txt", b""),
        ("a.spacy", as_spacy([])),
        ("a.parquet", as_parquet([])),
    ],
)
def test_file_without_records(tmp_path: Path, name: str, content: bytes) -> None:
    path = put(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=False)
    assert caught.value.message == f"{path}: no records in the file"


def test_table_without_a_text_column(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", b"\nnumber;size\n1;2\n3;2\n")
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=True)
    assert caught.value.message == (
        f'{path}: which column has the text? Its columns: "number" (1), "size" (2)'
    )
    assert caught.value.hint == "Name it, for example: --text-column size"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "a.jsonl.gz",
            gzip.compress(jsonl({"text": "a"}), mtime=0)[:-9],
            "not a compressed file, or damaged",
        ),
        ("a.parquet", b"PAR1", "not a Parquet file, or damaged"),
        ("a.parquet", as_parquet([("a", {"A": 1.0})])[:-20], "not a Parquet file, or damaged"),
        ("a.spacy", b"?", "not a spaCy 3 DocBin, or damaged"),
        ("a.spacy", as_spacy([("a", {})])[:-5], "not a spaCy 3 DocBin, or damaged"),
    ],
)
def test_damaged_file(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_records(path, labeled=False)
    assert caught.value.message.startswith(f"{path}: {problem}")
    if name.endswith(".parquet"):
        assert caught.value.hint == "Copy or download the file again"
