import os
from pathlib import Path
from typing import Any

import pytest
from directories import snapshot

from trfcli_pipeline.data.outputs import directories
from trfcli_pipeline.data.outputs.directories import Kind, open_directory
from trfcli_pipeline.errors import OutputError


def own_files(path: Path) -> frozenset[str] | None:
    return frozenset({"own"}) if (path / "own").exists() else None


BOX = Kind("a box", own_files)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box"
    path.mkdir()
    (path / "own").write_text("old")
    (path / "notes").write_text("mine")
    return path


def replace(path: Path, **options: object) -> None:
    settings: dict[str, Any] = {"force": True, **options}
    with open_directory(path, BOX, **settings) as claim, claim.staged() as staging:
        (staging / "own").write_text("new")


def test_only_own_files_are_replaced(box: Path) -> None:
    replace(box)
    assert (box / "own").read_text() == "new"
    assert (box / "notes").read_text() == "mine"
    assert list(box.parent.iterdir()) == [box]


def test_existing_output_needs_force(box: Path) -> None:
    with pytest.raises(OutputError, match="box: already exists"):
        replace(box, force=False)
    replace(box.parent / "other", force=False)


@pytest.mark.parametrize("force", [True, False])
def test_anything_else_is_refused_by_what_stands_there(tmp_path: Path, force: bool) -> None:
    for name in ("thesis.tex", "config.cfg", "a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(OutputError) as caught:
        replace(tmp_path, force=force)
    assert caught.value.message == (
        f"{tmp_path}: exists and is not a box (it has a.jpg, b.jpg, config.cfg ...)"
    )
    with pytest.raises(OutputError, match=r"a\.jpg: is a file"):
        replace(tmp_path / "a.jpg", force=force)
    assert len(snapshot(tmp_path)) == 4


@pytest.mark.parametrize(
    ("target", "model", "message"),
    [
        ("box", "box", "is the input"),
        ("box", "./link", "is the input"),
        ("link", "box", "is the input"),
        ("box", "box/model", "contains the input, box/model"),
        (".", "box", "contains the input, box"),
        ("box/new", "box", "is inside the input, box"),
        ("link/new", "box", "is inside the input, box"),
    ],
)
def test_output_and_input_are_apart(
    box: Path, monkeypatch: pytest.MonkeyPatch, target: str, model: str, message: str
) -> None:
    monkeypatch.chdir(box.parent)
    (box / "model").mkdir()
    Path("link").symlink_to("box")
    before = snapshot(box)
    with pytest.raises(OutputError, match=message):
        replace(Path(target), models=[model])
    assert snapshot(box) == before


def test_first_input_can_be_replaced_in_place(box: Path) -> None:
    replace(box, models=[box], in_place=True)
    assert (box / "own").read_text() == "new"
    with pytest.raises(OutputError, match="is the input"):
        replace(box, models=["en_core_web_sm", box], in_place=True)


def test_data_in_the_output_stays_but_own_files_are_no_input(box: Path) -> None:
    replace(box, data=[str(box / "notes"), None, "-"])
    (box.parent / "hard").hardlink_to(box / "own")
    for path in (box / "own", box.parent / "hard"):
        with pytest.raises(OutputError, match="is one of the files to be replaced"):
            replace(box, data=[str(path)])


def test_directory_that_cannot_be_moved_is_noticed_first(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (box / "mounted").mkdir()

    def fake_mount(*names: str) -> None:
        monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name in names)

    fake_mount("box")
    with pytest.raises(OutputError, match="is a mount point") as caught:
        replace(box)
    assert str(box / "model") in str(caught.value.hint)
    fake_mount("mounted")
    with pytest.raises(OutputError, match="contains a mount point, mounted"):
        replace(box)
    fake_mount()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: Path(path).name != "mounted")
        with pytest.raises(OutputError, match="mounted: not writable"):
            replace(box)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_output_of_another_user_in_a_shared_directory(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.parent.chmod(0o1777)
    monkeypatch.setattr(directories.os, "geteuid", lambda: box.stat().st_uid + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        replace(box)


def test_new_directory_has_the_permissions_of_the_old_one(box: Path) -> None:
    box.chmod(0o750)
    replace(box)
    assert box.stat().st_mode & 0o777 == 0o750
