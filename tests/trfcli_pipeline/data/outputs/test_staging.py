import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from trfcli_pipeline.data.outputs import staging as module
from trfcli_pipeline.data.outputs.staging import staged_directory, staged_file, sweep
from trfcli_pipeline.errors import OutputError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2 is Linux's")


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An existing directory with no siblings."""
    path = tmp_path / "model"
    (path / "folder").mkdir(parents=True)
    (path / "folder" / "old").write_text("old")
    return path


def has_no_siblings(path: Path) -> bool:
    """Whether no temporary files are left next to a directory."""
    return list(path.parent.iterdir()) == [path]


def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")


def refused_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems without atomic exchange, such as some network file systems."""

    def renameat2(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=renameat2))


def missing_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace())


def real_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


WAYS = [real_exchange, no_exchange, refused_exchange, missing_exchange]


def test_new_directory_appears_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "model"
    with staged_directory(target) as staging:
        assert staging.name == target.name
        assert staging != target
        (staging / "new").write_text("new")
        assert not target.exists()
    assert contents(target) == {"new": "new"}
    assert has_no_siblings(target)


@pytest.mark.parametrize("way", WAYS)
def test_existing_directory_is_replaced_as_a_whole(
    target: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[pytest.MonkeyPatch], None]
) -> None:
    way(monkeypatch)
    with staged_directory(target) as staging:
        (staging / "new").write_text("new")
        assert contents(target) == {"folder/old": "old"}
    assert contents(target) == {"new": "new"}
    assert has_no_siblings(target)


@linux
def test_target_is_never_missing_while_it_is_replaced(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single exchange replaces the target, without renames."""

    def refuse(*_: object) -> None:
        raise AssertionError("renamed")

    with staged_directory(target) as staging:
        (staging / "new").write_text("new")
        monkeypatch.setattr(Path, "rename", refuse)
        monkeypatch.setattr(os, "rename", refuse)
    assert contents(target) == {"new": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_exception_leaves_the_target_unchanged(target: Path, error: type[BaseException]) -> None:
    stack = ExitStack()
    staging = stack.enter_context(staged_directory(target))
    (staging / "new").write_text("new")
    assert stack.__exit__(error, error(), None) is False
    assert contents(target) == {"folder/old": "old"}
    assert has_no_siblings(target)


def test_exception_leaves_no_new_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), staged_directory(tmp_path / "model"):
        raise ValueError("x")
    assert list(tmp_path.iterdir()) == []


def test_failed_rename_restores_the_old_directory(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_exchange(monkeypatch)
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        # Only moving the new directory into place fails.
        if (self / "new").exists():
            raise OSError(errno.EACCES, "no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="not writable"), staged_directory(target) as staging:
        (staging / "new").write_text("new")
    assert contents(target) == {"folder/old": "old"}
    assert has_no_siblings(target)


@linux
def test_unexpected_error_of_the_exchange_is_raised(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renameat2(*_: object) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(renameat2=renameat2))
    with pytest.raises(OutputError, match=os.strerror(errno.EIO)), staged_directory(target):
        pass
    assert contents(target) == {"folder/old": "old"}
    assert has_no_siblings(target)


@pytest.mark.parametrize("way", WAYS)
def test_target_of_a_symbolic_link_is_replaced(
    target: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    way: Callable[[pytest.MonkeyPatch], None],
) -> None:
    way(monkeypatch)
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(target)
    with staged_directory(link) as staging:
        # On the same file system as the directory, which the link may not be.
        assert staging.parent.parent == target.parent
        (staging / "new").write_text("new")
    assert link.is_symlink()
    assert link.resolve() == target
    assert contents(target) == {"new": "new"}
    assert has_no_siblings(target)
    assert has_no_siblings(link)


def test_relative_path_is_resolved_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with staged_directory(Path("model")) as staging:
        (staging / "new").write_text("new")
        monkeypatch.chdir("/")
    assert contents(tmp_path / "model") == {"new": "new"}


def test_unwritable_parent_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    # File permissions wouldn't stop root, and tests often run as root.
    monkeypatch.setattr(module.tempfile, "mkdtemp", refuse)
    with pytest.raises(OutputError, match=r"not writable \(Permission denied\)"):
        staged_directory(tmp_path / "model").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not writable"):
        staged_directory(tmp_path / "file" / "model").__enter__()
    assert (tmp_path / "file").is_file()


# Files


def write(path: Path, text: str) -> None:
    with staged_file(path) as staging:
        staging.write_text(text, encoding="utf8")


def test_file_is_written_and_replaced_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write(path, "old ü\n")
    assert path.read_bytes() == "old ü\n".encode()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        with pytest.raises(OutputError, match=r"a.json: the disk is full"):
            write(path, "new")
    assert contents(tmp_path) == {"a.json": "old ü\n"}
    write(path, "new")
    assert contents(tmp_path) == {"a.json": "new"}


def test_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, "old")
    path.chmod(0o640)
    write(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_target_file_of_a_symbolic_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


# Files of other people in the directory


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
