"""Locks, probes and signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trfcli_pipeline.data.outputs import claims, spaces
from trfcli_pipeline.data.outputs.claims import claimed
from trfcli_pipeline.data.outputs.signals import signals_held
from trfcli_pipeline.data.outputs.staging import staged_file
from trfcli_pipeline.errors import OutputError

HOLDER = """
import sys
from pathlib import Path
from trfcli_pipeline.data.outputs.claims import claimed
with claimed(Path(sys.argv[1]), "out"):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed `out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_told_who_holds_the_output(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(OutputError) as caught:
        claimed(tmp_path / "out", "out").__enter__()
    assert caught.value.message == (
        f"out: is being written by another process ({holder.pid}: -c {tmp_path / 'out'})"
    )
    with claimed(tmp_path / "other", "other"):
        pass
    holder.communicate("")
    with claimed(tmp_path / "out", "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_claim_dies_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    with claimed(tmp_path / "out", "out"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_worker_does_not_keep_the_claim(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with claimed(tmp_path / "out", "out"):
        worker = os.fork()
        if not worker:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    with claimed(tmp_path / "out", "out"):
        pass
    os.close(writing)
    os.close(reading)
    assert os.waitpid(worker, 0)[1] == 0


@pytest.mark.parametrize("content", ["mine", '{"mine": 1}', "[1]"])
def test_lock_file_of_somebody_else_is_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / ".out.lock").write_text(content)
    with pytest.raises(OutputError, match=r"\.out\.lock: not a lock of trf"):
        claimed(tmp_path / "out", "out").__enter__()
    assert (tmp_path / ".out.lock").read_text() == content


def test_lock_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / ".out.lock").symlink_to("victim")
    with pytest.raises(OutputError, match="not writable"):
        claimed(tmp_path / "out", "out").__enter__()
    assert (tmp_path / "victim").read_text() == ""


def test_missing_parents_are_created_and_removed_if_they_stay_empty(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "out"
    with claimed(target, "out"):
        assert target.parent.is_dir()
    assert list(tmp_path.iterdir()) == []
    with claimed(target, "out"):
        target.touch()
    assert target.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has /proc")
@pytest.mark.parametrize("path", ["/proc/out", "/proc/a/b/out"])
def test_directory_of_the_system_that_takes_no_files(path: str) -> None:
    with pytest.raises(OutputError) as error:
        claimed(Path(path), path).__enter__()
    assert error.value.message == "/proc: no files can be created there"


def test_parent_that_cannot_be_written_is_noticed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: not writable"):
        claimed(tmp_path / "file" / "out", "out").__enter__()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # File permissions wouldn't stop root, and tests often run as root.
    monkeypatch.setattr(claims.Path, "write_bytes", refuse)
    with pytest.raises(OutputError, match=r"not writable \(Permission denied\)"):
        claimed(tmp_path / "out", "out").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_room_is_checked(tmp_path: Path) -> None:
    spaces.check_room(tmp_path / "out", 1)
    with pytest.raises(OutputError, match=r"about 1,000,000,000,000\.0 MB are needed"):
        spaces.check_room(tmp_path / "out", 10**18)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_is_one_line(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OutputError, match=r"out: the disk is full\nFree some space"):
        raise_in(error, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def raise_in(error: Exception, path: Path) -> None:
    with staged_file(path):
        raise error


def test_interrupt_after_the_replacement_says_so(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupt_after(path, "new")
    assert caught.value.__notes__ == ["./out was already saved"]
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupt_after(path, None)
    assert not hasattr(caught.value, "__notes__")


def interrupt_after(path: Path, text: str | None) -> None:
    with claimed(path, "./out"):
        if text is not None:
            with staged_file(path) as staging:
                staging.write_text(text)
        raise KeyboardInterrupt


def test_signals_wait_until_the_end_of_a_step() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        hold(done)
    assert done == ["step"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def hold(done: list[str]) -> None:
    with signals_held():
        signal.raise_signal(signal.SIGINT)
        done.append("step")
    done.append("not reached")


def test_lock_names_process_and_command(tmp_path: Path) -> None:
    with claimed(tmp_path / "out", "out"):
        found = json.loads((tmp_path / ".out.lock").read_text())
    assert found["pid"] == os.getpid()
    assert found.keys() == {"pid", "command"}
