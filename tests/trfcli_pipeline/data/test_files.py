import hashlib
from pathlib import Path

import pytest

from trfcli_pipeline.data.files import directory_bytes, files_digest, sha256, similar_file


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"6")
    return tmp_path


def test_size_of_a_directory_includes_subdirectories(directory: Path) -> None:
    assert directory_bytes(directory) == 6


def test_path_is_not_suggested_instead_of_itself(directory: Path) -> None:
    assert similar_file(directory / "a") is None
    (directory / "a.jsonl").touch()
    assert similar_file(directory / "a.json") == f"Did you mean {directory / 'a.jsonl'}?"
    (directory / "a.json").symlink_to("nowhere")
    assert similar_file(directory / "a.json") == f"Did you mean {directory / 'a.jsonl'}?"


def test_digest_of_a_file(directory: Path) -> None:
    assert sha256(str(directory / "c")) == hashlib.sha256(b"6").hexdigest()


def test_digest_of_files_depends_on_names_and_contents(directory: Path) -> None:
    before = files_digest(directory, ["c", "a/b"])
    assert files_digest(directory, ["a/b", "c"]) == before
    (directory / "c").rename(directory / "d")
    renamed = files_digest(directory, ["a/b", "d"])
    (directory / "d").write_bytes(b"7")
    assert len({before, renamed, files_digest(directory, ["a/b", "d"])}) == 3
