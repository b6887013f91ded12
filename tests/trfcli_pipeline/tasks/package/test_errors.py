import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from directories import snapshot

from trfcli_pipeline.errors import ArgumentError, OutputError, PipelineError
from trfcli_pipeline.tasks import programs
from trfcli_pipeline.tasks.package import package


@pytest.mark.parametrize(
    "name", ["", "spam-filter", "2spam", "spam_", "_spam", "späm", "a/b", "a b"]
)
def test_invalid_name(model_dir: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError) as error:
        package(model_dir, tmp_path / "out", name=name)
    assert error.value.message == f"--name: {name!r} can't be part of the name of a package"
    assert error.value.hint is not None
    assert error.value.hint.startswith("Use letters (a-z, A-Z), digits and underscores")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("version", ["", "latest", "1.0-final-2", "1..0", "../1"])
def test_invalid_version(model_dir: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(ArgumentError) as error:
        package(model_dir, tmp_path / "out", version=version)
    assert error.value.message == f"--version: {version!r} is not a version of a Python package"
    assert not (tmp_path / "out").exists()


def test_unknown_format(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--build: 'egg' isn't one of sdist, wheel and none"):
        package(model_dir, tmp_path, formats=("sdist", "egg"))


def test_output_directory_is_a_file(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: is a file\n"):
        package(model_dir, tmp_path / "file")
    with pytest.raises(OutputError, match="file: is a file, not a directory"):
        package(model_dir, tmp_path / "file" / "below")


def test_directory_without_a_pipeline(tmp_path: Path) -> None:
    def check(problem: str) -> None:
        with pytest.raises(PipelineError, match=problem):
            package(tmp_path / "model", tmp_path / "out")

    check("model: there is no such directory")
    (tmp_path / "model").mkdir()
    check(r"not a spaCy pipeline \(it has no config\.cfg\)")
    (tmp_path / "model" / "config.cfg").touch()
    check(r"meta\.json: no such file")
    meta = tmp_path / "model" / "meta.json"
    meta.write_text("{", encoding="utf-8")
    check(r"meta\.json: not valid JSON")
    meta.write_text("[]", encoding="utf-8")
    check(r"meta\.json: not a JSON object")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lang": 1}, r"\[lang\] Input should be a valid string"),
        ({"requirements": ["a b"]}, "'a b' is not a requirement"),
    ],
)
def test_invalid_meta(
    with_meta: Callable[..., Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        package(with_meta(**change), tmp_path / "out")


def test_pipeline_that_cannot_be_loaded(model_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_dir, model)
    (model / "textcat" / "model").unlink()
    with pytest.raises(PipelineError) as error:
        package(model, tmp_path / "out")
    assert error.value.message.startswith(f"{model / 'textcat' / 'model'}: can't be loaded: ")
    assert error.value.hint == (
        "Copy the pipeline again from where it was made. "
        f"Find damaged files: trf info {model} --verify"
    )
    assert str(tmp_path / "out") not in error.value.message
    config = (model / "config.cfg").read_text("utf-8").replace('"textcat"', '"no_such_factory"')
    (model / "config.cfg").write_text(config, encoding="utf-8")
    with pytest.raises(PipelineError, match=r"can't be loaded: .*no_such_factory") as error:
        package(model, tmp_path / "out")
    assert "\n" not in error.value.message
    assert not (tmp_path / "out").exists()


def fail_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        output = "\n".join(f"line {i}" for i in range(100))
        return subprocess.CompletedProcess(command, 1, stdout=output, stderr="")

    monkeypatch.setattr(programs.subprocess, "run", run)


def test_failed_build_keeps_the_existing_package(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "en_trf_tiny-0.1.0"
    package(model_dir, tmp_path, formats=())
    (target / "mine").write_text("mine", encoding="utf-8")
    before = snapshot(target)
    fail_build(monkeypatch)
    with pytest.raises(OutputError) as error:
        package(model_dir, tmp_path, force=True)
    assert error.value.message == "Building en_trf_tiny-0.1.0 failed"
    assert error.value.hint is not None
    assert error.value.hint.splitlines()[-1] == "line 99"
    assert len(error.value.hint.splitlines()) == 15
    assert list(tmp_path.iterdir()) == [target]
    assert snapshot(target) == before
