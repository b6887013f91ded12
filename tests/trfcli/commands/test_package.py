import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import spacy
from typer.testing import Result

from trfcli_pipeline.tasks.half import Halved
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.tasks.package import Package
from trfcli_pipeline.tasks.verification import Verified

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]
Replace = Callable[[Callable[..., Package]], None]


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Replace the task by a function, whose arguments don't have to exist."""

    def replace(package: Callable[..., Package]) -> None:
        monkeypatch.setattr("trfcli_pipeline.tasks.package.package", package)
        monkeypatch.setattr("trfcli_pipeline.tasks.inputs.check_inputs", lambda *_, **__: None)

    return replace


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_model(str(tiny_bert), path, lang="xx", name="tiny")
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, model: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current directory, with a pipeline and other directories."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_only_the_requested_wheel_is_built(
    run: Run, workspace: Path, model: Path, digest: Digest
) -> None:
    result = run(
        *("package", "model", "out", "--build", "wheel"),
        *("--name", "spam_filter", "--version", "1.2.0"),
    )
    assert result.exit_code == 0
    assert result.stdout == ""
    wheel = "xx_spam_filter-1.2.0-py3-none-any.whl"
    dist = workspace / "out" / "xx_spam_filter-1.2.0" / "dist"
    own_wheel = f"trfcli-{metadata.version('trfcli')}-py3-none-any.whl"
    *built, following = result.stderr.splitlines()
    shown = dist.relative_to(workspace)
    for line, file in zip(built, (wheel, own_wheel), strict=True):
        assert re.match(rf"✔ Built {shown / file} \(0\.\d MB\)", line)
    assert following == f"  Next: pip install --find-links {shown} xx_spam_filter==1.2.0"

    assert names_in(dist) == [own_wheel, wheel]
    with zipfile.ZipFile(dist / wheel) as archive:
        meta = json.loads(archive.read("xx_spam_filter/meta.json"))
        inner = "xx_spam_filter/xx_spam_filter-1.2.0"
        weights = archive.read(f"{inner}/trf_tok2vec/model/model.safetensors")
    assert (meta["lang"], meta["name"], meta["version"]) == ("xx", "spam_filter", "1.2.0")
    assert any(requirement.startswith("trfcli") for requirement in meta["requirements"])
    assert weights == (model / "trf_tok2vec" / "model" / "model.safetensors").read_bytes()
    assert digest(workspace / "model") == digest(model)
    assert names_in(workspace / "out") == ["xx_spam_filter-1.2.0"]


def test_package_source_without_archives(run: Run, workspace: Path) -> None:
    result = run("package", "model", "out", "--build", "none")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert re.fullmatch(r"✔ Wrote the package source to out\n", result.stderr)
    root = workspace / "out" / "xx_tiny-0.0.0"
    assert names_in(workspace / "out") == [root.name]
    assert names_in(root) == ["README.md", "meta.json", "pyproject.toml", "xx_tiny"]
    nlp = spacy.load(root / "xx_tiny" / root.name)
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]


def test_quiet_prints_nothing(run: Run, workspace: Path) -> None:
    result = run("package", "model", "out", "-B", "none", "--quiet")
    assert result.exit_code == 0
    assert result.output == ""
    assert names_in(workspace / "out") == ["xx_tiny-0.0.0"]


def test_name_and_version_do_not_change_the_pipeline(
    run: Run, workspace: Path, model: Path, digest: Digest
) -> None:
    # Versions are normalized as pip normalizes them.
    result = run(
        *("package", "model", "out", "-B", "none"), *("--name", "other", "--version", "v2.0-rc1")
    )
    assert result.exit_code == 0
    assert names_in(workspace / "out") == ["xx_other-2.0rc1"]
    root = workspace / "out" / "xx_other-2.0rc1"
    meta = json.loads((root / "xx_other" / "meta.json").read_text())
    assert (meta["name"], meta["version"]) == ("other", "2.0rc1")
    assert digest(workspace / "model") == digest(model)


def test_existing_package_is_replaced_only_with_force(
    run: Run, workspace: Path, digest: Digest
) -> None:
    command = ["package", "model", "out", "--build", "none"]
    assert run(*command).exit_code == 0
    (workspace / "out" / "xx_tiny-0.0.0" / "notes.txt").write_text("mine\n")
    before = digest(workspace)

    result = run(*command)
    assert result.exit_code == 1
    problem, advice = result.stderr.splitlines()
    assert problem == "✘ out/xx_tiny-0.0.0: already exists"
    assert "--force" in advice
    assert digest(workspace) == before

    assert run(*command, "-f").exit_code == 0
    assert (workspace / "out" / "xx_tiny-0.0.0" / "notes.txt").read_text() == "mine\n"
    assert names_in(workspace / "out") == ["xx_tiny-0.0.0"]


@pytest.mark.parametrize(
    ("options", "formats"),
    [
        ([], ["sdist", "wheel"]),
        (["--build", "wheel"], ["wheel"]),
        (["-B", "sdist"], ["sdist"]),
        (["-B", "wheel, sdist"], ["wheel", "sdist"]),
        (["-B", "none"], []),
    ],
    ids=str,
)
def test_build_option_selects_the_formats(
    run: Run, packaged: Replace, options: list[str], formats: list[str]
) -> None:
    asked: dict[str, Any] = {}

    def package(model: Path, out: Path, **settings: Any) -> Package:
        asked.update(settings, model=model, out=out)
        return Package("en_x", "1.0", out)

    packaged(package)
    assert run("package", "model", "out", *options).exit_code == 0
    assert asked == {
        "model": Path("model"),
        "out": Path("out"),
        "name": None,
        "version": None,
        "formats": formats,
        "half": False,
        "verify": False,
        "texts": None,
        "code": None,
        "force": False,
    }


def test_everything_that_was_done_is_reported(run: Run, tmp_path: Path, packaged: Replace) -> None:
    dist = tmp_path / "a b"
    dist.mkdir()
    files = [dist / name for name in ("a.tar.gz", "a.whl", "trfcli.whl")]
    for size, file in enumerate(files, start=1):
        file.write_bytes(b"x" * size * 200_000)
    built = Package(
        "en_a",
        "1.0",
        tmp_path,
        files[:2],
        own_wheel=files[2],
        halved=Halved(92_000_000, 46_000_000, 11, 0.000345, 0.9999987),
        verified=Verified(11, ("doc.cats", "annotations")),
    )
    packaged(lambda *_, **__: built)
    assert run("package", "model", "out").stderr.splitlines() == [
        "ℹ Stored the weights in 16 bits: 46 MB instead of 92 MB; scores change by at most "
        "0.00034 (11 texts)",
        f"✔ Built {files[0]} (0.2 MB)",
        f"✔ Built {files[1]} (0.4 MB)",
        "✔ Verified the wheel in a fresh environment without network: doc.cats, annotations of "
        "11 texts are the same, bit for bit",
        f"✔ Built {files[2]} (0.6 MB), which en_a requires",
        f"  Next: pip install --find-links '{dist}' en_a==1.0",
    ]
    built.halved = Halved(92_000_000, 46_000_000, 1, None, 0.9999987)
    built.own_wheel, built.without_own_wheel = None, "its installation has no list of files"
    lines = run("package", "model", "out").stderr.splitlines()
    assert lines[0].endswith(
        "; the cosine of token vectors before and after is at least 0.999999 (1 text)"
    )
    assert lines[-2] == (
        "⚠ The package requires trfcli, whose wheel can't be built: its installation has no list "
        "of files. Install trfcli first wherever you install the package"
    )


def test_failed_build_leaves_nothing_behind(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch, digest: Digest
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    before = digest(workspace)
    result = run("package", "model", "out", "--build", "wheel")
    assert result.exit_code == 1
    assert result.stderr.startswith("✘ Building xx_tiny-0.0.0 failed\n")
    assert digest(workspace) == before


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "out"], "nowhere: there is no such directory", "trf init"),
        (["folder/notes.txt", "out"], "notes.txt: is a file", "trf init"),
        (["folder", "out"], "folder: not a spaCy pipeline", "trf init"),
        (["tiny-bert", "out"], "not a spaCy pipeline", "trf init"),
        (["model", "folder/notes.txt"], "notes.txt: is a file", "Use a directory"),
        (["model", "model/out"], "is inside the input", "another"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_a_one_line_error_and_changes_nothing(
    workspace: Path, args: list[str], problem: str, advice: str | None, check_failure: CheckFailure
) -> None:
    check_failure(["package", *args], problem, advice)


def test_weights_in_16_bits_of_a_pipeline_in_the_current_directory(
    run: Run, workspace: Path
) -> None:
    result = run("package", "model", "out", "--half", "--build", "none")
    assert result.exit_code == 0, result.output
    assert "Stored the weights in 16 bits" in result.stderr


def test_damaged_weights_are_one_line_with_a_hint(run: Run, workspace: Path) -> None:
    weights = workspace / "model" / "trf_tok2vec" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for args in (("package", "model", "out"), ("info", "model")):
        problem, hint = run(*args).stderr.splitlines()
        assert problem.startswith("✘ model/trf_tok2vec/model: can't load the encoder: Error while ")
        assert str(workspace) not in problem
        assert hint == (
            "  Copy the pipeline again from where it was made. Find damaged files: trf info model "
            "--verify"
        )
    assert "model/model.safetensors changed" in run("info", "model", "--verify").stderr


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--verify", "--build", "sdist"], "--verify installs the wheel"),
        (["--verify", "--build", "none"], "--verify installs the wheel"),
        (["--texts", "folder/notes.txt"], "--texts is for comparing predictions"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_exclude_each_other(
    run: Run, workspace: Path, args: list[str], problem: str, digest: Digest
) -> None:
    before = digest(workspace)
    result = run("package", "model", "out", *args)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert digest(workspace) == before


@pytest.mark.parametrize(
    ("content", "problem", "advice"),
    [
        ("{", "meta.json: not valid JSON", "Copy the pipeline again"),
        ("[]", "meta.json: not a JSON object", "Copy the pipeline again"),
        ('{"lang": "xx"}', "meta.json: [name] Field required", "Correct it in meta.json"),
        (
            '{"lang": "xx", "name": "x", "version": "1", "author": "A\\n\\nB"}',
            """meta.json: "author" has a line break in 'A\\n\\nB'""",
            "Write it as one line",
        ),
    ],
)
def test_error_names_the_field_of_meta_json(
    workspace: Path, content: str, problem: str, advice: str, check_failure: CheckFailure
) -> None:
    (workspace / "model" / "meta.json").write_text(content)
    check_failure(["package", "model", "out"], problem, advice)


@pytest.mark.parametrize(
    "args",
    [
        ["model"],
        ["model", "out", "--nonsense"],
        ["model", "out", "surplus"],
        ["model", "out", "--name", "a b"],
        ["model", "out", "--name", "1"],
        ["model", "out", "--version", "new"],
        ["model", "out", "-B", "rpm"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(
    run: Run, workspace: Path, args: list[str], digest: Digest
) -> None:
    before = digest(workspace)
    result = run("package", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("✘ ")
    assert digest(workspace) == before
