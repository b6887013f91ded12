"""A directory to train in."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from thinc.api import Config
from train_command import DEV, TEXTS, Write
from train_events import Replayed

from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.tasks import inputs
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training import train as task
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.events import TrainingEvent


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_model(str(tiny_bert), path, lang="xx")
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, model: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> Path:
    """The current directory, with a pipeline, data files and other files."""
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
    """A config that trains the classifier on a frozen encoder within a few steps."""
    config = Config().from_disk(config_path("textcat.cfg"), interpolate=False)
    config["training"]["optimizer"]["learn_rate"]["initial_rate"] = 0.3
    config["training"]["dropout"] = 0.0
    config["training"]["max_epochs"] = 5
    config["training"]["batcher"]["size"] = 8
    config["system"]["seed"] = 3
    config.to_disk(workspace / "fast.cfg")
    return "fast.cfg"


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Replayed:
    """Replaces training by prepared events, and returns the arguments that it was called with."""

    def replay(*events: TrainingEvent) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def train_textcat(model: str, train: DataSet, **options: Any) -> Iterator[TrainingEvent]:
            asked.update(options, model=model, train=train)
            yield from events

        monkeypatch.setattr(task, "train_textcat", train_textcat)
        # There are no such files.
        monkeypatch.setattr(inputs, "check_inputs", lambda *_, **__: None)
        return asked

    return replay
