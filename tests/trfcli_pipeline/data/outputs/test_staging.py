import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from exchanges import WAYS, contents, has_no_siblings, no_exchange

from trfcli_pipeline.data.outputs import staging as module
from trfcli_pipeline.data.outputs.staging import staged_directory, staged_file
from trfcli_pipeline.errors import OutputError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="renameat2 is Linux's")


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
