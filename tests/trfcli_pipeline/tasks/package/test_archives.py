"""The same pipeline gives the same archives, byte for byte."""

import gzip
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.tasks.archives import timestamp
from trfcli_pipeline.tasks.package import package

PROGRAM = """
import os, sys
os.umask(int(sys.argv[3], 8))
from trfcli_pipeline.tasks.package import package
for archive in package(sys.argv[1], sys.argv[2]).archives:
    print(archive)
"""


def build(model: Path, out: Path, umask: str, **environment: str) -> list[bytes]:
    out.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model), str(out / "packages"), umask],
        env={**os.environ, **environment},
        cwd=out,
        check=True,
        capture_output=True,
        text=True,
    )
    return [Path(line).read_bytes() for line in result.stdout.splitlines()]


def test_archives_depend_on_the_pipeline_alone(model_dir: Path, tmp_path: Path) -> None:
    model, copy = tmp_path / "model", tmp_path / "copy"
    shutil.copytree(model_dir, model)
    (model / "LICENSE").write_text("MIT ©\n", encoding="utf-8")
    shutil.copytree(model, copy)
    for file in copy.rglob("*"):
        os.utime(file, (2e9, 2e9))
        file.chmod(0o700)
    first = build(model, tmp_path / "a", "022", PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8")
    second = build(
        copy,
        tmp_path / "b c",
        "077",
        PYTHONHASHSEED="2",
        TZ="Asia/Tokyo",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert len(first) == 2
    assert first == second


def test_entries_have_fixed_modes_owners_and_times(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    sdist, wheel = package(model_dir, tmp_path).archives
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(2026, 1, 1, 0, 0, 0)}
    assert {stat.S_IMODE(entry.external_attr >> 16) for entry in entries} == {0o644}
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    found = {
        (each.mtime, each.mode, each.uid, each.gid, each.uname, each.gname) for each in members
    }
    assert found == {(1767225600, 0o644, 0, 0, "", "")}
    with gzip.open(sdist) as file:
        file.read(1)
        assert file.mtime == 1767225600  # type: ignore[attr-defined]


def test_wheels_begin_in_1980(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    (wheel,) = package(model_dir, tmp_path, formats=["wheel"]).archives
    with zipfile.ZipFile(wheel) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@pytest.mark.parametrize("value", ["now", "-1", "1.5", "²", str(2**32), "9" * 5000])
def test_invalid_source_date_epoch(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(OutputError, match="SOURCE_DATE_EPOCH") as error:
        package(model_dir, tmp_path / "out")
    assert error.value.hint == "Set it to a number such as 1767225600, or unset it"
    assert not (tmp_path / "out").exists()


def test_source_date_epoch_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    unset = timestamp()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert timestamp() == unset
