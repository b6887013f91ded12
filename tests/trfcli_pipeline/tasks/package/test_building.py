import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
import srsly
from directories import snapshot

from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.tasks import package as task
from trfcli_pipeline.tasks.model_card import model_card
from trfcli_pipeline.tasks.package import Package, package


class Built(SimpleNamespace):
    output_dir: Path
    package: Package
    before: dict[str, str]


@pytest.fixture(scope="module")
def built(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    output_dir = tmp_path_factory.mktemp("out") / "new" / "packages"
    before = snapshot(model_dir)
    found = package(model_dir, output_dir, formats=("wheel", "sdist"))
    return Built(output_dir=output_dir, package=found, before=before)


def test_output_has_the_package_and_nothing_else(built: Built, model_dir: Path) -> None:
    target = built.output_dir / "en_trf_tiny-0.1.0"
    assert built.package == Package(
        "en_trf_tiny",
        "0.1.0",
        target,
        [
            target / "dist" / "en_trf_tiny-0.1.0.tar.gz",
            target / "dist" / "en_trf_tiny-0.1.0-py3-none-any.whl",
        ],
    )
    assert {path.name for path in (target / "dist").iterdir()} == {
        path.name for path in built.package.archives
    }
    assert list(built.output_dir.iterdir()) == [target]
    assert {path.name for path in target.iterdir()} == {
        "README.md",
        "dist",
        "en_trf_tiny",
        "meta.json",
        "pyproject.toml",
    }
    assert snapshot(model_dir) == built.before


def test_archives_contain_pipeline_card_and_meta(built: Built, model_dir: Path) -> None:
    sdist, wheel = built.package.archives
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
    assert {"README.md", "en_trf_tiny/meta.json", "pyproject.toml"} <= in_sdist
    assert len(metas) == 2
    assert metas[0] == metas[1]
    own = srsly.read_json(model_dir / "meta.json")["trf"]
    assert {**own, "files": metas[0]["trf"]["files"]} == metas[0]["trf"]
    assert "textcat/model" in metas[0]["trf"]["files"]
    assert card == model_card(metas[0])
    headers = Parser().parsestr(wheel_metadata)
    assert headers.get_all("Requires-Dist") == [f"spacy<3.9.0,>={spacy.__version__}"]
    assert headers.get_payload() == card


def test_installed_wheel_predicts_the_same(built: Built, model_dir: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    options = ["--disable-pip-version-check", "--target", str(tmp_path)]
    wheel = str(built.package.archives[1])
    subprocess.run([*install, *options, wheel], check=True, capture_output=True)
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


def test_existing_package_is_an_error_without_force(built: Built, model_dir: Path) -> None:
    target = built.output_dir / "en_trf_tiny-0.1.0"
    before = snapshot(target)
    with pytest.raises(OutputError) as error:
        package(model_dir, built.output_dir)
    assert error.value.message == f"{target}: already exists"
    assert error.value.hint == "Use another directory, or --force"
    assert snapshot(target) == before


def test_packaged_pipeline_can_be_packaged_again(built: Built, tmp_path: Path) -> None:
    data_dir = built.output_dir / "en_trf_tiny-0.1.0" / "en_trf_tiny" / "en_trf_tiny-0.1.0"
    package(data_dir, tmp_path, formats=(), version="0.2")
    again = tmp_path / "en_trf_tiny-0.2" / "en_trf_tiny"
    first, second = (srsly.read_json(root / "meta.json") for root in (data_dir, again))
    assert second["requirements"] == first["requirements"]
    with pytest.raises(OutputError, match="contains the input"):
        package(data_dir, built.output_dir, force=True)
    with pytest.raises(OutputError, match="is inside the input"):
        package(data_dir, data_dir / "out")


def test_package_without_archives_prints_nothing(
    model_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert package(model_dir, tmp_path, formats=()).archives == ()
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "en_trf_tiny-0.1.0" / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("name", "version", "directory"),
    [
        ("spam_filter2", None, "en_spam_filter2-0.1.0"),
        ("en_spam", "1.0.0-beta", "en_spam-1.0.0b0"),
        (None, "v2", "en_trf_tiny-2"),
    ],
)
def test_name_and_version_replace_those_of_the_pipeline(
    model_dir: Path, tmp_path: Path, name: str | None, version: str | None, directory: str
) -> None:
    package(model_dir, tmp_path, name=name, version=version, formats=())
    target = tmp_path / directory
    full_name = directory.partition("-")[0]
    meta = srsly.read_json(target / full_name / "meta.json")
    assert f"en_{meta['name']}-{meta['version']}" == directory
    assert srsly.read_json(target / full_name / directory / "meta.json") == meta
    assert f"\n# {full_name}\n" in (target / "README.md").read_text("utf-8")


def test_readme_of_the_pipeline_replaces_the_model_card(model_dir: Path, tmp_path: Path) -> None:
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
def test_trfcli_is_required_once_if_the_pipeline_uses_it(
    with_meta: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    registered: list[str],
    existing: list[str],
    own: list[str],
) -> None:
    model = with_meta(requirements=existing)
    monkeypatch.setattr(metadata, "distribution", lambda name: FakeDistribution(*registered))
    package(model, tmp_path, formats=())
    path = tmp_path / "en_trf_tiny-0.1.0" / "en_trf_tiny" / "meta.json"
    requirements = srsly.read_json(path)["requirements"]
    assert [r for r in requirements if r.startswith("trfcli")] == own
    assert len([r for r in requirements if r.startswith("spacy")]) == 1


def test_requirements_have_a_fixed_order(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_meta(path: Path, meta: dict[str, Any]) -> dict[str, Any]:
        # spaCy adds them in the order of a set.
        return {**meta, "requirements": [*meta["requirements"], "zip", "numpy", "abc"]}

    monkeypatch.setattr(task, "get_meta", get_meta)
    package(model_dir, tmp_path, formats=())
    meta = srsly.read_json(tmp_path / "en_trf_tiny-0.1.0" / "en_trf_tiny" / "meta.json")
    assert meta["requirements"][-3:] == ["abc", "numpy", "zip"]


def test_force_replaces_only_the_files_of_the_package(model_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "en_trf_tiny-0.1.0"
    package(model_dir, tmp_path, formats=())
    (target / "data").mkdir()
    (target / "data" / "notes.txt").write_text("mine")
    (target / "pyproject.toml").write_text("old")
    package(model_dir, tmp_path, formats=(), force=True)
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "data" / "notes.txt").read_text() == "mine"
    assert "hatchling" in (target / "pyproject.toml").read_text()


def test_another_directory_of_that_name_is_never_replaced(model_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "en_trf_tiny-0.1.0"
    (target / "dist").mkdir(parents=True)
    (target / "dist" / "en_trf_tiny-0.0.9.tar.gz").touch()
    with pytest.raises(OutputError, match=r"is not a package of trf \(it has dist\)"):
        package(model_dir, tmp_path, formats=(), force=True)
    assert [*snapshot(target)] == ["dist/en_trf_tiny-0.0.9.tar.gz"]
