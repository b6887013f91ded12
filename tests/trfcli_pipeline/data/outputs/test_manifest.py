import json
from pathlib import Path

import pytest

from trfcli_pipeline.data.outputs import manifest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights").write_bytes(b"\0" * 100)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "meta.json").write_text('{"score": 0.7, "trf": {"encoder": "é"}}', encoding="utf8")
    return tmp_path


def test_manifest_is_added_to_the_meta_data(directory: Path) -> None:
    assert manifest.read_manifest(directory) is None
    manifest.write_manifest(directory, {"a/weights", "meta.json"})
    found = manifest.read_manifest(directory)
    assert found is not None
    assert found.keys() == {"a/weights"}
    meta = json.loads((directory / "meta.json").read_text(encoding="utf8"))
    assert manifest.without_manifest(meta) == {"score": 0.7, "trf": {"encoder": "é"}}
    manifest.update_meta(directory, {"score": 0.8})
    assert manifest.read_manifest(directory) == found


def test_changes_are_found(directory: Path) -> None:
    manifest.write_manifest(directory, {"a/weights", "notes.txt"})
    files = manifest.read_manifest(directory)
    assert files is not None
    assert manifest.find_changes(directory, files) == {}
    (directory / "a" / "weights").write_bytes(b"\0" * 99 + b"\1")
    (directory / "notes.txt").unlink()
    assert manifest.find_changes(directory, files) == {
        "a/weights": "changed",
        "notes.txt": "missing",
    }


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"trf": 1}',
        '{"trf": {"files": ["a"]}}',
        '{"trf": {"files": {"../victim": "0"}}}',
        '{"trf": {"files": {"/victim": "0"}}}',
    ],
)
def test_other_meta_data_has_no_manifest(directory: Path, content: str) -> None:
    (directory / "meta.json").write_text(content)
    assert manifest.read_manifest(directory) is None


def test_only_files_that_were_written_are_recorded(directory: Path) -> None:
    for _ in range(2):
        with manifest.recorded(directory):
            (directory / "new").write_text("new")
            (directory / "meta.json").write_text("{}")
        assert (manifest.read_manifest(directory) or {}).keys() == {"new"}
