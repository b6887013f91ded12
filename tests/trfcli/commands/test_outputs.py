"""What commands do with files that are already at their output."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from directories import snapshot
from typer.testing import Result

from trfcli_pipeline.data.outputs import staging
from trfcli_pipeline.data.outputs.claims import claimed
from trfcli_pipeline.tasks.init_model import init_model

Run = Callable[..., Result]

ROWS = [
    {"text": f"I {verb} film {number}", "label": label}
    for number in range(12)
    for verb, label in (("love", "GOOD"), ("hate", "BAD"))
]
QUICK = ("--epochs", "1", "--batch-size", "12", "--freeze-encoder", "--device", "cpu")
TRAIN = ("train", "base", "train.jsonl", "-o")
OPTIMIZE = ("--calibrate", "train.jsonl", "--precision", "bf16", "--backend", "torch")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """Two pipelines and labeled texts."""
    folder = tmp_path_factory.mktemp("prepared")
    init_model(str(tiny_bert), folder / "base", lang="xx", name="base")
    init_model(str(tiny_bert), folder / "other", lang="xx", name="other")
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (folder / "enc").symlink_to(tiny_bert)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a copy of that."""
    shutil.copytree(prepared, tmp_path / "folder", symlinks=True)
    monkeypatch.chdir(tmp_path / "folder")
    return tmp_path / "folder"


def refused(run: Run, *args: str) -> str:
    """Run a command that must change nothing. Return its error."""
    before = snapshot(Path.cwd())
    result = run(*args)
    assert result.exit_code == 1
    assert snapshot(Path.cwd()) == before
    assert not list(Path.cwd().glob(".*"))
    message: str = result.stderr.splitlines()[0]
    return message


@pytest.mark.parametrize("output", [".", "project", "link"])
def test_project_with_a_config_is_not_replaced(run: Run, folder: Path, output: str) -> None:
    project = folder / "project"
    project.mkdir()
    (folder / "link").symlink_to("project")
    for path in (folder, project):
        (path / "config.cfg").write_text("[nlp]\n")
        (path / "thesis.tex").write_text("mine")
    found = refused(run, *TRAIN, output, "--force", *QUICK)
    expected = "contains the input, base" if output == "." else "exists and is not a spaCy pipeline"
    assert expected in found


@pytest.mark.parametrize(
    "args",
    [
        ("init", "enc", "project", "--force"),
        ("optimize", "base", "project", "--force", *OPTIMIZE),
        ("package", "base", ".", "-B", "none", "--name", "x", "--version", "1", "--force"),
    ],
    ids=lambda args: args[0],
)
def test_force_does_not_replace_what_trf_has_not_written(
    run: Run, folder: Path, args: tuple[str, ...]
) -> None:
    for name in ("project", "xx_x-1"):
        (folder / name / "data").mkdir(parents=True)
        (folder / name / "data" / "corpus").write_text("mine")
    assert "(it has data)" in refused(run, *args)


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (("init", "enc", "other", "--force"), "other"),
        (("optimize", "base", "other", "--force", *OPTIMIZE), "other"),
        (("train", "base", "train.jsonl", *QUICK), "base"),
        ((*TRAIN, "other", "--force", *QUICK), "other"),
        (("package", "base", "out", "-B", "none", "--force"), "out/xx_base-0.0.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_other_files_in_the_output_stay(
    run: Run, folder: Path, args: tuple[str, ...], output: str
) -> None:
    assert run("package", "base", "out", "-B", "none").exit_code == 0
    names = ("NOTES.md", "data/raw/corpus", "vocab/mine", "trf_tok2vec/mine")
    for name in names:
        (folder / output / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / output / name).write_text("mine")
    os.mkfifo(folder / output / "pipe")
    assert run(*args).exit_code == 0
    assert all((folder / output / name).read_text() == "mine" for name in names)
    assert (folder / output / "pipe").is_fifo()
    assert not list(folder.glob(".*"))


def test_only_results_of_the_same_model_are_replaced_without_force(run: Run, folder: Path) -> None:
    assert "other: already exists" in refused(run, *TRAIN, "other", *QUICK)
    for epochs in ("1", "2"):
        assert run(*TRAIN, "trained", *QUICK, "--epochs", epochs).exit_code == 0
    args = ("train", "other", "train.jsonl", "-o", "trained", *QUICK)
    assert "trained: already exists" in refused(run, *args)
    assert run(*args, "--force").exit_code == 0
    assert spacy.load("trained").meta["name"] == "other"


@pytest.mark.parametrize(
    "args",
    [
        "check train.jsonl --model enc -o -",
        "evaluate base train.jsonl --html -",
        "suggest enc train.jsonl --format csv -o -",
        "train base train.jsonl -o -",
        "init enc -",
        "package base -",
    ],
)
def test_stdout_is_no_file(run: Run, folder: Path, args: str) -> None:
    before = snapshot(folder)
    result = run(*args.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "✘ -: this output can't be stdout",
        "  Name a file or directory",
    ]
    assert snapshot(folder) == before


@pytest.mark.parametrize("option", ["-o", "--html"])
@pytest.mark.parametrize("name", ["train.jsonl", "./train.jsonl", "hard.jsonl", "notes.md"])
def test_evaluation_does_not_replace_other_files(
    run: Run, folder: Path, option: str, name: str
) -> None:
    (folder / "hard.jsonl").hardlink_to("train.jsonl")
    (folder / "notes.md").write_text("mine")
    found = refused(run, "evaluate", "base", "train.jsonl", option, name)
    assert ("already exists and is not" if name == "notes.md" else "is the input") in found


def test_evaluation_replaces_its_own_files(run: Run, folder: Path) -> None:
    assert run("train", "base", "train.jsonl", *QUICK).exit_code == 0
    args = ("evaluate", "base", "train.jsonl", "-o", "a.json", "--html", "a.html")
    for _ in range(2):
        assert run(*args).exit_code == 0
    assert "is not a report" in refused(run, *args[:3], "--html", "a.json")
    assert "is not metrics" in refused(run, *args[:3], "-o", "a.html")
    assert "two outputs" in refused(run, *args[:-1], "./a.json")


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (("init", "enc", "new"), "new"),
        (("init", "enc", "other", "--force"), "other"),
        (("optimize", "base", "other", "--force", *OPTIMIZE), "other"),
        (("train", "other", "train.jsonl", *QUICK), "other"),
        ((*TRAIN, "other", "--force", *QUICK), "other"),
        (("package", "base", "out", "-B", "none"), "out/xx_base-0.0.0"),
        (("annotate", "base", "train.jsonl", "rows.jsonl"), "rows.jsonl"),
        (("annotate", "base", "train.jsonl", "rows.jsonl", "--resume"), "rows.jsonl"),
        (("evaluate", "base", "train.jsonl", "-o", "rows.jsonl"), "rows.jsonl"),
        (("evaluate", "base", "train.jsonl", "--html", "rows.jsonl"), "rows.jsonl"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_output_has_one_writer(run: Run, folder: Path, args: tuple[str, ...], output: str) -> None:
    (folder / "out").mkdir()
    before = snapshot(folder)
    with claimed(folder / output, output):
        result = run(*args)
    assert result.exit_code == 1
    message, hint = result.stderr.splitlines()
    assert f"{output}: is being written by another process ({os.getpid()}: " in message
    assert hint == "  Wait until it ends, or choose another output"
    assert snapshot(folder) == before


def test_everybody_who_may_read_the_config_may_read_the_weights(run: Run, folder: Path) -> None:
    assert run("init", "enc", "new").exit_code == 0
    modes = {path.stat().st_mode for path in (folder / "new").rglob("*") if path.is_file()}
    assert len(modes) == 1


def test_changed_weights_are_found(run: Run, folder: Path) -> None:
    result = run("info", "base", "--verify")
    assert result.exit_code == 0
    assert " verified    " in result.stdout
    weights = folder / "base" / "trf_tok2vec" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    assert run("info", "base").exit_code == 0
    found = refused(run, "info", "base", "--verify")
    assert found.endswith("trf_tok2vec/model/model.safetensors changed")
    (folder / "base" / "config.cfg").unlink()
    assert run("info", "--verify").exit_code == 2


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_termination_cleans_up_like_an_interrupt(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = getattr(signal, name)
    handler = signal.getsignal(number)

    swap = staging.swap

    def swap_and_terminate(*args: Any) -> None:
        swap(*args)
        terminate()

    def terminate(*_: Any, **__: Any) -> None:
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr("trfcli_pipeline.tasks.init_model.create_pipeline", terminate)
        result = run("init", "enc", "new")
    assert result.exit_code == 128 + number
    assert result.stderr == "✘ Terminated; nothing was changed.\n"
    assert signal.getsignal(number) == handler
    assert not (folder / "new").exists()
    assert not list(folder.glob(".*"))
    # After the replacement, it is done.
    with monkeypatch.context() as patch:
        patch.setattr(staging, "swap", swap_and_terminate)
        result = run("init", "enc", "new")
    assert result.stderr == "✘ Terminated; new was already saved.\n"
    assert (folder / "new" / "config.cfg").exists()
