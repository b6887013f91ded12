import os
from pathlib import Path

import pytest

from trfcli_pipeline.data.outputs.files import (
    Edits,
    FileKind,
    check_distinct,
    check_file,
    open_file,
)
from trfcli_pipeline.errors import OutputError


def is_report(path: Path) -> bool:
    return path.read_text().startswith("report")


REPORT = FileKind("a report", is_report)


def write(path: Path, text: str = "report 2", **inputs: list[str]) -> None:
    with open_file(path, REPORT, **inputs) as file:
        file.write(text)


def test_file_of_this_kind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for text in ("report ü", "report 2"):
        write(path, text)
        assert path.read_text(encoding="utf8") == text
    path.write_text("")
    write(path)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", ["notes", '{"text": "a"}', "\n"])
def test_other_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out"
    path.write_text(content)
    with pytest.raises(OutputError, match="out: already exists and is not a report"):
        write(path)
    assert path.read_text() == content


def test_edited_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    kind = FileKind("a report", is_report, Edits("notes", has_notes, "Read them"))
    path.write_text("report")
    with open_file(path, kind) as file:
        file.write("report 2 (notes)")
    with (
        pytest.raises(OutputError, match=r"out: already has notes\nRead them$"),
        open_file(path, kind),
    ):
        pass
    assert path.read_text() == "report 2 (notes)"


def has_notes(path: Path) -> bool:
    return "notes" in path.read_text()


@pytest.mark.parametrize("name", ["in", "./in", "link", "hard"])
def test_input_is_refused_under_each_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").write_text("report, but also an input")
    Path("link").symlink_to("in")
    Path("hard").hardlink_to("in")
    with pytest.raises(OutputError, match="is the input"):
        write(Path(name), data=["-", "in"])
    assert Path("in").read_text() == "report, but also an input"


def test_files_of_an_input_pipeline_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "meta.json").write_text("report")
    with pytest.raises(OutputError, match="is a file of the input pipeline"):
        write(tmp_path / "model" / "meta.json", models=["en_core_web_sm", str(tmp_path / "model")])
    write(tmp_path / "model" / "new", models=[str(tmp_path / "model")])


def test_link_is_kept_and_its_target_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("report 1")
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "report 2"


def test_device_is_written_to_directly() -> None:
    write(Path(os.devnull))
    assert not Path(os.devnull).is_file()


def test_paths_that_cannot_become_a_file(tmp_path: Path) -> None:
    for check in (check_file, write):
        with pytest.raises(OutputError, match="a directory, not a file") as error:
            check(tmp_path)
        assert error.value.hint == "Give the path of a file in it"
        with pytest.raises(OutputError, match="nowhere: there is no such directory"):
            check(tmp_path / "nowhere" / "a.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.json", tmp_path / "file" / "below" / "a.json"):
        with pytest.raises(OutputError, match="file: is a file, not a directory"):
            check(path)


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    one, link, hard = (tmp_path / name for name in ("one", "link", "hard"))
    check_distinct(one, tmp_path / "two", None)
    check_distinct(Path(os.devnull), Path(os.devnull))
    one.touch()
    link.symlink_to(one)
    hard.hardlink_to(one)
    for other in (one, tmp_path / "." / "one", link, hard):
        with pytest.raises(OutputError, match="can't be two outputs"):
            check_distinct(one, other)
