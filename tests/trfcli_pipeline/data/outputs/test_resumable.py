import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.data.outputs.resumable import ResumableFile
from trfcli_pipeline.errors import OutputError


class StopError(Exception):
    pass


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def interrupted(path: Path, *chunks: bytes) -> None:
    """Leave the files of a run that fails after some chunks."""
    with suppress(StopError), ResumableFile(path, resume=False, force=True) as file:
        for number, chunk in enumerate(chunks, start=1):
            file.append(chunk, {"chunks": number})
        raise StopError


def test_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with ResumableFile(path, resume=False, force=False) as file:
        assert file.state == {}
        file.append(b"one\n", {"chunks": 1})
        assert names(tmp_path) == [".out.txt.lock", "out.txt.partial", "out.txt.partial.json"]
        file.append(b"two\n", {"chunks": 2})
    assert names(tmp_path) == ["out.txt"]
    assert path.read_bytes() == b"one\ntwo\n"


def test_run_without_chunks_leaves_no_files(tmp_path: Path) -> None:
    interrupted(tmp_path / "out.txt")
    assert names(tmp_path) == []


@given(
    chunks=st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    after=st.integers(1, 5),
    torn=st.binary(max_size=10),
)
def test_resumed_file_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], after: int, torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("resumed") / "out.txt"
    interrupted(path, *chunks[:after])
    # A process killed between a chunk and its state leaves more bytes than the state says.
    with path.with_name("out.txt.partial").open("ab") as partial:
        partial.write(torn)
    with ResumableFile(path, resume=True, force=False) as file:
        assert file.state["chunks"] == min(after, len(chunks))
        for number, chunk in enumerate(chunks[after:], start=after + 1):
            file.append(chunk, {"chunks": number})
    assert path.read_bytes() == b"".join(chunks)
    assert names(path.parent) == ["out.txt"]


def test_resume_without_an_earlier_run_starts_one(tmp_path: Path) -> None:
    with ResumableFile(tmp_path / "out.txt", resume=True, force=False) as file:
        assert file.state == {}
        file.append(b"a", {})
    assert (tmp_path / "out.txt").read_bytes() == b"a"


def test_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_bytes(b"old")
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"out\.txt: already exists"):
            ResumableFile(path, resume=resume, force=False).__enter__()
    interrupted(path, b"half")
    assert path.read_bytes() == b"old"
    with ResumableFile(path, resume=False, force=True) as file:
        file.append(b"new", {})
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["out.txt"]


def test_unfinished_run_is_discarded_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    interrupted(path, b"half")
    with pytest.raises(OutputError, match="left by an interrupted run") as caught:
        ResumableFile(path, resume=False, force=False).__enter__()
    assert "--resume" in str(caught.value.hint)
    with ResumableFile(path, resume=False, force=True) as file:
        assert file.state == {}
        file.append(b"new", {})
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("damage", ["state", "short", "flipped"])
def test_damaged_partial_file_is_an_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "out.txt"
    interrupted(path, b"half")
    match damage:
        case "state":
            (tmp_path / "out.txt.partial.json").write_text("{")
        case "short":
            (tmp_path / "out.txt.partial").write_bytes(b"hal")
        case "flipped":
            (tmp_path / "out.txt.partial").write_bytes(b"hblf")
    with pytest.raises(OutputError, match="damaged, can't be continued"):
        ResumableFile(path, resume=True, force=False).__enter__()


def test_mismatch_names_what_differs(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out.txt", resume=True, force=False)
    assert file.mismatch("model").message == (
        f"{tmp_path}/out.txt.partial: written with another model, so it can't be continued"
    )


def test_symbolic_link_is_kept_and_its_target_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with ResumableFile(link, resume=False, force=True) as file:
        file.append(b"new", {})
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_target_that_cannot_be_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a directory, not a file"):
        ResumableFile(tmp_path, resume=False, force=True).__enter__()
    with pytest.raises(OutputError, match="no such directory"):
        ResumableFile(tmp_path / "nowhere" / "out.txt", resume=False, force=False).__enter__()
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(OutputError, match="not a regular file"):
        ResumableFile(tmp_path / "pipe.txt", resume=False, force=True).__enter__()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_full_disk_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"

    def fill_the_disk() -> None:
        with ResumableFile(path, resume=False, force=False) as file:
            file.append(b"one", {"chunks": 1})
            with Path("/dev/full").open("wb", buffering=0) as full:
                os.dup2(full.fileno(), file._file.fileno())
            file.append(b"two", {"chunks": 2})

    with pytest.raises(OutputError, match="the disk is full"):
        fill_the_disk()
    assert json.loads((tmp_path / "out.txt.partial.json").read_bytes())["state"] == {"chunks": 1}


@pytest.mark.parametrize("name", ["out.txt.partial", "out.txt.partial.json"])
@pytest.mark.parametrize("kind", ["file", "link", "hard link"])
def test_files_of_somebody_else_are_never_overwritten(tmp_path: Path, name: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text('{"mine": 1}')
    match kind:
        case "file":
            (tmp_path / name).write_text('{"mine": 1}')
            (tmp_path / "out.txt.partial").touch()
        case "link":
            (tmp_path / name).symlink_to(victim)
        case "hard link":
            (tmp_path / name).hardlink_to(victim)
    with pytest.raises(OutputError, match="exists, but is not from an interrupted run"):
        ResumableFile(tmp_path / "out.txt", resume=False, force=True).__enter__()
    assert victim.read_text() == '{"mine": 1}'


def test_rest_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    interrupted(path, b"half")
    (tmp_path / "out.txt.partial").unlink()
    with ResumableFile(path, resume=True, force=False) as file:
        file.append(b"new", {})
    assert names(tmp_path) == ["out.txt"]


def test_input_and_output_are_different_files(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="is the input"):
        ResumableFile(path, resume=False, force=True, data=[str(path)]).__enter__()
