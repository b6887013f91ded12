"""trfcli's own wheel, beside a package that requires it."""

import json
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.tasks import own_wheel
from trfcli_pipeline.tasks.own_wheel import build_own_wheel

ANY = Requirement("trfcli")
VERSION = metadata.version("trfcli")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source tree that runs the tests."""
    return build_own_wheel(tmp_path_factory.mktemp("dist"), ANY)


@pytest.fixture
def installed(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an installation of it that isn't editable."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run(
        [*command, "--no-index", "--target", str(site), str(built)], check=True, capture_output=True
    )
    (distribution,) = metadata.distributions(name="trfcli", path=[str(site)])
    monkeypatch.setattr(own_wheel.metadata, "distribution", lambda name: distribution)
    return site


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_editable_installation_is_built_from_its_source(built: Path) -> None:
    assert built.name == f"trfcli-{VERSION}-py3-none-any.whl"
    files = contents(built)
    assert {"trfcli/app.py", "trfcli_pipeline/configs/textcat.cfg"} <= files.keys()
    assert b"trf = trfcli.app:main" in files[f"trfcli-{VERSION}.dist-info/entry_points.txt"]


def test_installed_files_become_the_same_wheel(
    built: Path, installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "dist").mkdir()
    wheel = build_own_wheel(tmp_path / "dist", ANY)
    assert wheel.name == built.name
    expected, found = contents(built), contents(wheel)
    record = f"trfcli-{VERSION}.dist-info/RECORD"
    lines = [sorted(files.pop(record).splitlines()) for files in (expected, found)]
    assert found == expected
    assert lines[0] == lines[1]
    first = wheel.read_bytes()
    assert build_own_wheel(tmp_path / "dist", ANY).read_bytes() == first
    # The result can be installed.
    shutil.rmtree(installed)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run(
        [*command, "--no-index", "--target", str(installed), str(wheel)],
        check=True,
        capture_output=True,
    )


def test_changed_installation(installed: Path, tmp_path: Path) -> None:
    (installed / "trfcli" / "app.py").write_text("print('changed')")
    with pytest.raises(OutputError, match=r"trfcli/app.py was changed after its installation"):
        build_own_wheel(tmp_path, ANY)


def test_installation_without_a_list_of_files(installed: Path, tmp_path: Path) -> None:
    next(installed.glob("*.dist-info/RECORD")).unlink()
    with pytest.raises(OutputError, match="its installation has no list of files"):
        build_own_wheel(tmp_path, ANY)


def test_missing_source_tree(installed: Path, tmp_path: Path) -> None:
    origin = {"url": (tmp_path / "gone away").as_uri(), "dir_info": {"editable": True}}
    next(installed.glob("*.dist-info")).joinpath("direct_url.json").write_text(json.dumps(origin))
    with pytest.raises(OutputError, match=r"source tree isn't at .*gone away any more"):
        build_own_wheel(tmp_path, ANY)


def test_installed_version_must_meet_the_requirement(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"{VERSION} is installed, which isn't trfcli>=99"):
        build_own_wheel(tmp_path, Requirement("trfcli>=99"))
    assert list(tmp_path.iterdir()) == []


def test_trfcli_that_is_only_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(own_wheel.metadata, "distribution", distribution)
    with pytest.raises(OutputError, match="it isn't installed"):
        build_own_wheel(tmp_path, ANY)
