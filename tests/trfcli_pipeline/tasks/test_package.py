import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
import srsly
from directories import snapshot
from spacy.training import Example

from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.tasks import package as task
from trfcli_pipeline.tasks.model_card import model_card
from trfcli_pipeline.tasks.package import model_dir_meta, package

TRAINED = {"encoder": {"name": "tiny", "layers": 2}, "training": {"texts": 4, "seed": 0}}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    nlp.meta["name"] = "trf_tiny"
    nlp.meta["version"] = "0.1.0"
    nlp.meta["trf"] = TRAINED
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("textcat")
    cats = ({"HAM": 1.0, "SPAM": 0.0}, {"HAM": 0.0, "SPAM": 1.0})
    examples = [Example.from_dict(nlp.make_doc("a text"), {"cats": c}) for c in cats]
    nlp.initialize(lambda: examples)
    path = tmp_path_factory.mktemp("model") / "model"
    nlp.to_disk(path)
    return path


def with_meta(model_dir: Path, target: Path, **changes: Any) -> Path:
    """A copy of the pipeline with changes in its meta.json."""
    shutil.copytree(model_dir, target)
    srsly.write_json(target / "meta.json", {**model_dir_meta(model_dir), **changes})
    return target


class Built(SimpleNamespace):
    output_dir: Path
    files: list[Path]
    before: dict[str, str]


@pytest.fixture(scope="module")
def built(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    output_dir = tmp_path_factory.mktemp("out") / "new" / "packages"
    before = snapshot(model_dir)
    files = package(model_dir, output_dir, formats=("wheel", "sdist"))
    return Built(output_dir=output_dir, files=files, before=before)


# A real package


def test_files_and_leftovers(built: Built, model_dir: Path) -> None:
    target = built.output_dir / "en_trf_tiny-0.1.0"
    assert built.files == [
        target / "dist" / "en_trf_tiny-0.1.0.tar.gz",
        target / "dist" / "en_trf_tiny-0.1.0-py3-none-any.whl",
    ]
    assert list(built.output_dir.iterdir()) == [target]
    assert {path.name for path in target.iterdir()} == {
        "MANIFEST.in",
        "README.md",
        "dist",
        "en_trf_tiny",
        "meta.json",
        "setup.py",
    }
    assert snapshot(model_dir) == built.before


def test_archives_hold_pipeline_card_and_meta(built: Built) -> None:
    sdist, wheel = built.files
    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
        metas = [json.loads(archive.read(n)) for n in in_wheel if n.endswith("/meta.json")]
        card = archive.read("en_trf_tiny/en_trf_tiny-0.1.0/README.md").decode("utf-8")
        wheel_metadata = archive.read("en_trf_tiny-0.1.0.dist-info/METADATA").decode("utf-8")
    data = {
        f"en_trf_tiny/en_trf_tiny-0.1.0/{name}"
        for name in ("config.cfg", "meta.json", "README.md", "textcat/model", "tokenizer")
    }
    assert data <= in_sdist
    assert data <= in_wheel
    assert {"README.md", "meta.json", "setup.py"} <= in_sdist
    assert len(metas) == 2
    assert metas[0] == metas[1]
    assert metas[0]["trf"] == TRAINED
    assert card.startswith("# en_trf_tiny\n")
    assert card == model_card(metas[0])
    assert f"Requires-Dist: spacy<3.9.0,>={spacy.__version__}" in wheel_metadata
    assert "# en_trf_tiny" in wheel_metadata


def test_installed_wheel_predicts_the_same(built: Built, model_dir: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    options = ["--disable-pip-version-check", "--target", str(tmp_path), str(built.files[1])]
    subprocess.run([*install, *options], check=True, capture_output=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import json, spacy\n"
        "nlp = spacy.load('en_trf_tiny')\n"
        "print(json.dumps([nlp.meta['version'], nlp('a text').cats]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert json.loads(run.stdout) == ["0.1.0", spacy.load(model_dir)("a text").cats]


def test_existing_package_is_kept_without_force(built: Built, model_dir: Path) -> None:
    target = built.output_dir / "en_trf_tiny-0.1.0"
    before = snapshot(target)
    with pytest.raises(OutputError) as error:
        package(model_dir, built.output_dir)
    assert error.value.message == f"{target} exists"
    assert error.value.hint == "--force replaces it"
    assert snapshot(target) == before


def test_a_package_can_be_packaged_again(built: Built, tmp_path: Path) -> None:
    data_dir = built.output_dir / "en_trf_tiny-0.1.0" / "en_trf_tiny" / "en_trf_tiny-0.1.0"
    package(data_dir, tmp_path, formats=(), version="0.2")
    first, second = (
        srsly.read_json(root / "meta.json") for root in (data_dir, tmp_path / "en_trf_tiny-0.2")
    )
    assert second["requirements"] == first["requirements"]
    with pytest.raises(OutputError, match="holds the pipeline itself"):
        package(data_dir, built.output_dir, force=True)
    with pytest.raises(OutputError, match="is inside the pipeline's own directory"):
        package(data_dir, data_dir / "out")


# Without a build


def test_nothing_is_printed(
    model_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert package(model_dir, tmp_path, formats=()) == []
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "en_trf_tiny-0.1.0" / "setup.py").is_file()


@pytest.mark.parametrize(
    ("name", "version", "directory"),
    [
        ("spam_filter2", None, "en_spam_filter2-0.1.0"),
        ("en_spam", "1.0.0-beta", "en_spam-1.0.0b0"),
        (None, "v2", "en_trf_tiny-2"),
    ],
)
def test_name_and_version(
    model_dir: Path, tmp_path: Path, name: str | None, version: str | None, directory: str
) -> None:
    package(model_dir, tmp_path, name=name, version=version, formats=())
    target = tmp_path / directory
    meta = srsly.read_json(target / "meta.json")
    assert f"en_{meta['name']}-{meta['version']}" == directory
    full_name = directory.partition("-")[0]
    assert srsly.read_json(target / full_name / directory / "meta.json") == meta
    assert (target / "README.md").read_text("utf-8").startswith(f"# {full_name}\n")


def test_own_readme_is_kept(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# Mine\n", encoding="utf-8")
    package(tmp_path / "model", tmp_path / "out", formats=())
    target = tmp_path / "out" / "en_trf_tiny-0.1.0"
    for readme in (target, target / "en_trf_tiny" / "en_trf_tiny-0.1.0"):
        assert (readme / "README.md").read_text("utf-8") == "# Mine\n"


class FakeDistribution:
    version = "0.1.0"

    def __init__(self, *names: str) -> None:
        self.entry_points = [
            metadata.EntryPoint(name, "trfcli_pipeline:x", "spacy_factories") for name in names
        ]


@pytest.mark.parametrize(
    ("registered", "existing", "own"),
    [
        (["textcat"], [], ["trfcli>=0.1.0,<0.2.0"]),
        (["en"], [], ["trfcli>=0.1.0,<0.2.0"]),
        (["spacy.Tokenizer.v1"], [], ["trfcli>=0.1.0,<0.2.0"]),
        (["textcat"], ["trfcli==0.1.0", "trfcli"], ["trfcli==0.1.0"]),
        (["trf_tok2vec"], [], []),
    ],
)
def test_this_project_is_required_once_if_used(
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    registered: list[str],
    existing: list[str],
    own: list[str],
) -> None:
    model = with_meta(model_dir, tmp_path / "model", requirements=existing)
    monkeypatch.setattr(task.metadata, "distribution", lambda name: FakeDistribution(*registered))
    package(model, tmp_path, formats=())
    requirements = srsly.read_json(tmp_path / "en_trf_tiny-0.1.0" / "meta.json")["requirements"]
    assert [r for r in requirements if r.startswith("trfcli")] == own
    assert len([r for r in requirements if r.startswith("spacy")]) == 1


# Bad input


@pytest.mark.parametrize(
    "name", ["", "spam-filter", "2spam", "spam_", "_spam", "späm", "a/b", "a b"]
)
def test_bad_name(model_dir: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(PipelineError) as error:
        package(model_dir, tmp_path / "out", name=name)
    assert error.value.message == f"{name!r} can't be part of the name of a package"
    assert error.value.hint is not None
    assert error.value.hint.startswith("Use letters (a-z, A-Z), digits and underscores")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("version", ["", "latest", "1.0-final-2", "1..0", "../1"])
def test_bad_version(model_dir: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(PipelineError) as error:
        package(model_dir, tmp_path / "out", version=version)
    assert error.value.message == f"{version!r} is not a version of a Python package"
    assert not (tmp_path / "out").exists()


def test_bad_format(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Unknown format 'egg'") as error:
        package(model_dir, tmp_path, formats=("sdist", "egg"))
    assert error.value.hint == "Known: sdist, wheel"


def test_bad_output_dir(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file isn't a directory"):
        package(model_dir, tmp_path / "file")
    with pytest.raises(OutputError, match="can't be written"):
        package(model_dir, tmp_path / "file" / "below")


def test_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="missing: no such directory"):
        model_dir_meta(tmp_path / "missing")
    with pytest.raises(PipelineError, match=r"is no spaCy pipeline: it has no config\.cfg"):
        package(tmp_path, tmp_path / "out")
    (tmp_path / "config.cfg").touch()
    with pytest.raises(PipelineError, match=r"is no spaCy pipeline: it has no meta\.json"):
        model_dir_meta(tmp_path)
    (tmp_path / "meta.json").write_text("{", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"meta\.json is not valid JSON"):
        model_dir_meta(tmp_path)
    (tmp_path / "meta.json").write_text("[]", encoding="utf-8")
    with pytest.raises(PipelineError, match=r"meta\.json is not a JSON object"):
        model_dir_meta(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lang": 1}, r"\[lang\] Input should be a valid string"),
        ({"requirements": ["a b"]}, "'a b' is not a requirement"),
    ],
)
def test_bad_meta(model_dir: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    model = with_meta(model_dir, tmp_path / "model", **change)
    with pytest.raises(PipelineError, match=message):
        package(model, tmp_path / "out")


def test_pipeline_that_can_not_be_loaded(model_dir: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_dir, model)
    (model / "textcat" / "model").unlink()
    with pytest.raises(PipelineError, match="can't be loaded"):
        package(model, tmp_path / "out")
    config = (model / "config.cfg").read_text("utf-8").replace('"textcat"', '"no_such_factory"')
    (model / "config.cfg").write_text(config, encoding="utf-8")
    with pytest.raises(PipelineError, match=r"can't be loaded: .*no_such_factory") as error:
        package(model, tmp_path / "out")
    assert "\n" not in error.value.message
    assert list((tmp_path / "out").iterdir()) == []


# Failures halfway


def fail_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        output = "\n".join(f"line {i}" for i in range(100))
        return subprocess.CompletedProcess(command, 1, stdout=output)

    monkeypatch.setattr(task.subprocess, "run", run)


def test_failed_build_leaves_what_was_there(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "en_trf_tiny-0.1.0"
    target.mkdir()
    (target / "old").write_text("old", encoding="utf-8")
    fail_build(monkeypatch)
    with pytest.raises(OutputError) as error:
        package(model_dir, tmp_path, force=True)
    assert error.value.message == "Building en_trf_tiny-0.1.0 failed"
    assert error.value.hint is not None
    assert error.value.hint.splitlines()[-1] == "line 99"
    assert len(error.value.hint.splitlines()) == 15
    assert list(tmp_path.iterdir()) == [target]
    assert snapshot(target).keys() == {"old"}


def test_force_replaces_all_of_the_old_package(model_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "en_trf_tiny-0.1.0"
    (target / "dist").mkdir(parents=True)
    (target / "dist" / "en_trf_tiny-0.0.9.tar.gz").touch()
    assert package(model_dir, tmp_path, formats=(), force=True) == []
    assert list(tmp_path.iterdir()) == [target]
    assert not (target / "dist").exists()
    assert (target / "meta.json").is_file()


@pytest.mark.parametrize(
    ("setuptools", "isolated"), [("84.0", False), ("70.1", False), ("70.0", True), (None, True)]
)
def test_build_is_isolated_only_without_a_recent_setuptools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setuptools: str | None, isolated: bool
) -> None:
    commands = []

    def version(name: str) -> str:
        if setuptools is None:
            raise metadata.PackageNotFoundError(name)
        return setuptools

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, stdout="")

    monkeypatch.setattr(task.metadata, "version", version)
    monkeypatch.setattr(task.subprocess, "run", run)
    with pytest.raises(OutputError):
        task._build(tmp_path, ["wheel"])
    assert ("--no-isolation" not in commands[0]) is isolated
    assert "--wheel" in commands[0]
    assert "--sdist" not in commands[0]
