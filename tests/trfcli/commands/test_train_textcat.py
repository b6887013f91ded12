import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
import spacy
from thinc.api import Config
from typer.testing import Result

from trfcli_pipeline import training
from trfcli_pipeline.pipelines import init_pipeline
from trfcli_pipeline.training import Evaluated, Event, Finished, Planned, Settings, Stepped

Run = Callable[..., Result]

# The tiny encoder's weights are random, but with these words even it tells one from the other.
WORDS = {"BAD": "terrible bore dog", "GOOD": "great fun film"}
LABELS = list(WORDS)
TEXTS = [
    {"text": f"{WORDS[label]} {number}", "label": label} for number in range(12) for label in LABELS
]
DEV = [{"text": f"{WORDS[label]} indeed", "label": label} for label in LABELS]
WRONG_DEV = [{"text": f"{WORDS[label]} indeed", "label": label} for label in LABELS[::-1]]
WRONG_DEV = [
    {**record, "label": other["label"]}
    for record, other in zip(WRONG_DEV, WRONG_DEV[::-1], strict=True)
]
WEIGHTS = Path("trf_tok2vec", "model", "model.safetensors")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_pipeline(str(tiny_bert), path)
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, model: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current directory, with a pipeline, data, and what is neither."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    write(tmp_path / "train.jsonl", TEXTS)
    write(tmp_path / "dev.jsonl", DEV)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fast(workspace: Path) -> str:
    """A config with which the classifier learns within a few steps, on a frozen encoder."""
    config = Config().from_disk(training.config_path("textcat.cfg"), interpolate=False)
    config["training"]["optimizer"]["learn_rate"]["initial_rate"] = 0.3
    config["training"]["dropout"] = 0.0
    config["training"]["max_epochs"] = 5
    config["training"]["batcher"]["size"] = 8
    config["system"]["seed"] = 3
    config.to_disk(workspace / "fast.cfg")
    return "fast.cfg"


def write(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    """Write records as JSONL; a string is a line as it is."""
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf8")
    return path


def digest(directory: Path) -> str:
    """A hash of the names and contents of everything in a directory."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        found.update(f"{path.relative_to(directory)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def training_of(path: Path) -> dict[str, Any]:
    """What the meta.json of a pipeline says about its training."""
    meta: dict[str, Any] = json.loads((path / "meta.json").read_text(encoding="utf8"))
    return meta["trf"]["training"]  # type: ignore[no-any-return]


def rows_of(stderr: str) -> list[list[str]]:
    """The cells of the table of evaluations, without its header."""
    lines = stderr.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("   step"))
    rest = lines[header + 1 :]
    return [line.split() for line in rest if re.match(r" +[\d,]+ ", line)]


def test_replaces_the_model_and_tells_the_story(run: Run, workspace: Path) -> None:
    before = (workspace / "model" / WEIGHTS).read_bytes()
    (workspace / "model" / "README.md").write_text("my notes\n")
    result = run("train", "model", "train.jsonl", "--epochs", "2", "--batch-size", "8")
    assert result.exit_code == 0
    assert result.stdout == ""

    read, remark, decided, header, first, second, best, following = result.stderr.splitlines()
    assert read == (
        "✔ 22 texts to train on, 2 for dev (held out, stratified 10 %, seed 0); "
        "2 labels, exclusive: BAD 50.0 %, GOOD 50.0 %"
    )
    assert remark.startswith("⚠ ") or remark == decided
    assert re.fullmatch(
        r"ℹ CPU, \d+ threads?; encoder rate 1e-04, head rate 1e-03, batch 8, 6 steps, warm-up 1; "
        r"mean length \d+ wordpieces; new classifier",
        decided,
    )
    assert header.split() == ["step", "epoch", "loss", "accuracy", "macro", "F", "words/s"]
    assert [first.split()[:2], second.split()[:2]] == [["3", "1.00"], ["6", "2.00"]]
    assert first.endswith("  ← best")
    facts = training_of(workspace / "model")
    score = json.loads((workspace / "model" / "meta.json").read_text())["performance"]
    assert best == (
        f"✔ Best dev macro F {score['cats_macro_f']:.3f} at step {facts['best_step']}; "
        f"saved to {workspace / 'model'} (was: pipeline without a text classifier)"
    )
    assert following == f"  Next: trf evaluate {workspace / 'model'} test.jsonl"

    nlp = spacy.load(workspace / "model")
    assert nlp.pipe_names[-1] == "trf_textcat"
    assert sum(nlp("I love this film").cats.values()) == pytest.approx(1.0)
    assert (workspace / "model" / WEIGHTS).read_bytes() != before
    assert (workspace / "model" / "README.md").read_text() == "my notes\n"
