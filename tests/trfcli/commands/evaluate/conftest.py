"""Pipelines to evaluate."""

import shutil
from pathlib import Path

import pytest
from evaluate_command import TEXTS, Write
from thinc.api import Config

from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.train import train_textcat


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, write: Write) -> Path:
    """A directory with three pipelines: without a classifier, exclusive, and multi-label."""
    path = tmp_path_factory.mktemp("models")
    config = Config().from_disk(config_path("textcat.cfg"), interpolate=False)
    config["training"]["optimizer"]["learn_rate"]["initial_rate"] = 0.3
    config["training"]["dropout"] = 0.0
    config.to_disk(path / "fast.cfg")
    data = write(path / "data.jsonl", TEXTS)
    init_model(str(tiny_bert), path / "plain", lang="xx")
    for name, exclusive in (("exclusive", True), ("multilabel", False)):
        arguments = TrainingArguments(
            config=path / "fast.cfg",
            exclusive=exclusive,
            freeze_encoder=True,
            epochs=6,
            batch_size=4,
        )
        for _ in train_textcat(
            str(path / "plain"), str(data), dev=str(data), output=path / name, arguments=arguments
        ):
            pass
    return path


@pytest.fixture
def workspace(
    tmp_path: Path, models: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> Path:
    """The current directory, with the pipelines, data, and a folder that is neither."""
    for name in ("plain", "exclusive", "multilabel"):
        shutil.copytree(models / name, tmp_path / name)
    (tmp_path / "tiny-bert").symlink_to(tiny_bert)
    write(tmp_path / "test.jsonl", TEXTS)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path
