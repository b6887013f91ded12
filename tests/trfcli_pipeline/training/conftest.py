"""Pipelines to train, and training texts."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from trainings import QUICK, constant_rates, rows, write

from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training import trainer
from trfcli_pipeline.training.train import train_textcat


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("data") / "train.jsonl", rows("FRUIT", "FILM"))


@pytest.fixture(scope="session")
def untrained(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "model"
    # English takes longer to load than everything else.
    init_model(str(tiny_bert), path, lang="xx")
    return path


@pytest.fixture
def model(untrained: Path, tmp_path: Path) -> Path:
    """A pipeline without a classifier, in a directory with nothing else."""
    path = tmp_path / "models" / "model"
    shutil.copytree(untrained, path)
    return path


@pytest.fixture(scope="session")
def classifier(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with a trained classifier for FRUIT and FILM."""
    folder = tmp_path_factory.mktemp("trained")
    train = write(folder / "train.jsonl", rows("FRUIT", "FILM"))
    config = constant_rates(folder / "a.cfg", head=0.02, encoder=5e-3, dropout=0.0)
    arguments = replace(QUICK, epochs=8, config=config, learn_rate=None)
    output = folder / "model"
    list(train_textcat(str(untrained), train, dev=train, output=output, arguments=arguments))
    return folder / "model"


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes each evaluation return the next of the given scores."""

    def set_scores(*values: float) -> None:
        found = chain(values, repeat(values[-1]))

        def score(self: Any, evaluation: Evaluation) -> float:
            return next(found)

        monkeypatch.setattr(trainer.Trainer, "_score", score)

    return set_scores
