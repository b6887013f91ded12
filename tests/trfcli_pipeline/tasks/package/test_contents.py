"""Only the pipeline's own files are packaged, whatever else lies in its directory."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tasks.package import package


@pytest.fixture
def model(model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


def test_foreign_files_stay_out(model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (model / "hosts").symlink_to(secret)
    (model / "linked").symlink_to(tmp_path)
    (model / ".git").mkdir()
    (model / ".git" / "config").write_text("secret")
    (model / "textcat" / ".cache").mkdir()
    (model / "textcat" / ".cache" / "x").write_text("secret")
    (model / "vocab" / ".env").write_text("secret")
    for name in ("train.jsonl", "notes.txt", "textcat.bak", "en_trf_tiny.zip"):
        (model / name).write_text("secret")
    os.mkfifo(model / "pipe")
    (model / "LICENSE").write_text("MIT\n")
    sdist, wheel = package(model, tmp_path / "out").archives
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
        assert all(member.isfile() for member in members)
        in_sdist = {member.name.removeprefix("en_trf_tiny-0.1.0/") for member in members}
    assert not any(b"secret" in content for content in inside.values())
    data = {
        *("LICENSE", "README.md", "config.cfg", "meta.json", "sentencizer.json", "tokenizer"),
        *("textcat/cfg", "textcat/model"),
        *(f"vocab/{name}" for name in ("key2row", "lookups.bin", "strings.json", "vectors")),
        "vocab/vectors.cfg",
    }
    module = {
        *("en_trf_tiny/__init__.py", "en_trf_tiny/meta.json"),
        *(f"en_trf_tiny/en_trf_tiny-0.1.0/{name}" for name in data),
    }
    info = {name for name in inside if name.startswith("en_trf_tiny-0.1.0.dist-info/")}
    assert inside.keys() - info == module
    assert in_sdist == module | {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"}
    assert "en_trf_tiny-0.1.0.dist-info/licenses/LICENSE" in info


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "tokenizer", "vocab", "textcat/model"])
def test_own_files_are_not_links(model: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    if (model / name).exists():
        (model / name).rename(target)
    else:
        target.write_text("secret")
    (model / name).symlink_to(target)
    with pytest.raises(PipelineError) as error:
        package(model, tmp_path / "out")
    assert error.value.message == f"{model / name} is a link to {target}"
    assert error.value.hint
    assert not (tmp_path / "out").exists()


def test_own_files_are_not_pipes(model: Path, tmp_path: Path) -> None:
    os.mkfifo(model / "textcat" / "pipe")
    with pytest.raises(PipelineError, match="pipe is neither a file nor a directory"):
        package(model, tmp_path / "out")


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "LICENSES_SOURCES"])
def test_documents_are_utf8(model: Path, tmp_path: Path, name: str) -> None:
    (model / name).write_bytes(b"caf\xe9")
    with pytest.raises(PipelineError) as error:
        package(model, tmp_path / "out")
    assert error.value.message == f"{model / name}: is not UTF-8 (byte 4 is 0xe9)"
    assert error.value.hint == "Save it as UTF-8"


def test_ignored_files_are_packaged_too(model: Path, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("model\n*.cfg\n")
    sdist, wheel = package(model, tmp_path / "out").archives
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as other:
        for names in (archive.namelist(), other.getnames()):
            ends = {"/".join(name.split("/")[-2:]) for name in names}
            assert {"en_trf_tiny-0.1.0/config.cfg", "textcat/model"} <= ends
