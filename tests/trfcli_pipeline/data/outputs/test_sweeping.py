"""Files of other people in a directory that is replaced, and what killed processes leave."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from exchanges import WAYS, contents, has_no_siblings

from trfcli_pipeline.data.outputs import staging as module
from trfcli_pipeline.data.outputs.staging import staged_directory, sweep


@pytest.fixture
def mixed(target: Path) -> Path:
    """A directory with an own file, and other files beside, below and in the place of new ones."""
    (target / "notes.txt").write_text("mine")
    (target / "folder" / "mine").write_text("mine")
    (target / "data" / "raw").mkdir(parents=True)
    (target / "data" / "raw" / "a").write_text("mine")
    (target / "empty").mkdir()
    (target / "new").write_text("mine")
    (target / "link").symlink_to("/nowhere")
    os.mkfifo(target / "pipe")
    return target


OWN = {"folder/old"}
AFTERWARDS = {
    "data/raw/a": "mine",
    "folder/mine": "mine",
    "new": "new",
    "new.kept": "mine",
    "notes.txt": "mine",
}


@pytest.mark.parametrize("way", WAYS)
def test_other_files_stay(
    mixed: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[pytest.MonkeyPatch], None]
) -> None:
    way(monkeypatch)
    number = (mixed / "data" / "raw" / "a").stat().st_ino
    with staged_directory(mixed, OWN) as staging:
        (staging / "new").write_text("new")
    assert contents(mixed) == AFTERWARDS
    assert (mixed / "empty").is_dir()
    assert (mixed / "link").readlink() == Path("/nowhere")
    assert (mixed / "pipe").is_fifo()
    # They are moved, not copied.
    assert (mixed / "data" / "raw" / "a").stat().st_ino == number
    assert has_no_siblings(mixed)


def test_link_in_place_of_an_own_folder_is_not_followed(target: Path) -> None:
    elsewhere = target.parent / "elsewhere"
    (target / "folder").rename(elsewhere)
    (target / "folder").symlink_to(elsewhere)
    with staged_directory(target, OWN) as staging:
        (staging / "folder").mkdir()
        (staging / "folder" / "old").write_text("new")
    assert contents(elsewhere) == {"old": "old"}
    assert (target / "folder.kept").readlink() == elsewhere
    assert (target / "folder" / "old").read_text() == "new"


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["mkdir", "exchange", "renamed", "move", "unlink", "rmdir"])
def test_next_run_completes_what_a_killed_one_has_left(
    mixed: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[pytest.MonkeyPatch], None],
    place: str,
) -> None:
    """The process is killed at each point of the replacement, and `sweep` runs after it."""
    way(monkeypatch)
    before = contents(mixed)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        replace_until_killed(mixed, place, patch)
    sweep(mixed)
    (mixed / "pipe").unlink()
    assert contents(mixed) in (before, AFTERWARDS)
    assert has_no_siblings(mixed)


def replace_until_killed(target: Path, place: str, patch: pytest.MonkeyPatch) -> None:
    with staged_directory(target, OWN) as staging:
        (staging / "new").write_text("new")
        kill_at(place, patch)
        # Nothing that cleans up runs in a killed process.
        patch.setattr(module.shutil, "rmtree", kill)


def kill(*_: object, **__: object) -> None:
    raise KilledError


def kill_at(place: str, patch: pytest.MonkeyPatch) -> None:
    match place:
        case "exchange":
            patch.setattr(module, "swap", kill)
        case "renamed":
            patch.setattr(Path, "rename", kill)
        case "move":
            patch.setattr(module, "_move_others", kill)
        case "unlink":
            patch.setattr(module, "_remove_own", kill)
        case "rmdir":
            patch.setattr(Path, "rmdir", kill)


def test_sweep_leaves_what_only_looks_like_a_workspace(target: Path) -> None:
    others = [
        target.with_name(f".{target.name}-{name}.tmp") for name in ("abcdefgh", "12345678", "short")
    ]
    for other in others:
        other.mkdir()
        (other / "mine").write_text("mine")
    (others[1] / "trf.json").write_text('{"target": "other"}')
    sweep(target)
    assert all((other / "mine").exists() for other in others)
