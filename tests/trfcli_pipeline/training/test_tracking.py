"""Logging to experiment trackers, of whose clients there are stand-ins."""

import os
import random
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from directories import snapshot
from tracker_clients import CLIENTS, Recorded, replace_client
from trainings import QUICK, finish

from trfcli_pipeline.errors import ArgumentError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.events import (
    Evaluated,
    Planned,
    Stepped,
    TrackingFailed,
    TrackingStarted,
    TrainingEvent,
)
from trfcli_pipeline.training.trackers import check_tracker
from trfcli_pipeline.training.tracking import track
from trfcli_pipeline.training.train import train_textcat

IDENTITY = {"the settings": {"a": 1}, "the training texts": "abc", "the pipeline": "def"}
SCORES = SimpleNamespace(cats={"cats_macro_f": 0.75, "cats_f_per_type": {}}, accuracy=0.8, ece=0.1)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    for name in ("WANDB_PROJECT", "TENSORBOARD_LOGGING_DIR"):
        os.environ.pop(name, None)


@pytest.fixture
def plan() -> Planned:
    config = TrainingConfig(TrainingArguments(seed=7), exclusive=True)
    config.fit(1000)
    data: Any = None
    return Planned(config, data, [], "cpu", 1, 20.0, "new classifier", "windows")


def training(plan: Planned, *, fails: bool = False) -> Generator[TrainingEvent, None, str]:
    yield plan
    plan.config.optimizer.step_schedules()
    yield Stepped(1, 0.5)
    if fails:
        raise KeyboardInterrupt
    evaluation: Any = SCORES
    yield Evaluated(1, 0.25, 0.5, 1000.0, "cats_macro_f", 0.75, evaluation, "score")
    return "the result"


def tracked(client: str, events: Generator[TrainingEvent, None, str]) -> list[Any]:
    """All events, and at the end what the generator returned."""
    found: list[Any] = []

    def collect() -> Generator[TrainingEvent, None, None]:
        result = yield from track(
            events, client, "spam", IDENTITY, lambda result: {"score": 0.75, "model": result}
        )
        found.append(result)

    return [*collect(), *found]


@pytest.mark.parametrize("client", CLIENTS)
def test_settings_losses_rates_scores_and_the_result_are_logged(
    monkeypatch: pytest.MonkeyPatch, plan: Planned, client: str
) -> None:
    recorded = replace_client(monkeypatch, client)
    started, *events, result = tracked(client, training(plan))
    assert isinstance(started, TrackingStarted)
    assert started.tracker == client
    assert started.place
    assert [type(event) for event in events] == [Planned, Stepped, Evaluated]
    assert result == "the result"

    assert (recorded.name, recorded.status) == ("spam", "finished")
    expected = {
        "seed": 7,
        "training.max_epochs": 7,
        "training.optimizer.trf_lr.initial_rate": 1e-4,
        "identity.training_texts": "abc",
        "identity.pipeline": "def",
    }
    assert {name: recorded.settings[name] for name in expected} == expected
    (rate,) = recorded.values["train/trf_lr"]
    assert rate == (1, plan.config.optimizer.trf_lr)  # type: ignore[attr-defined]
    assert {name: values[0][1] for name, values in recorded.values.items()}.items() >= {
        "train/loss": 0.5,
        "train/epoch": 0.25,
        "train/words_per_second": 1000.0,
        "dev/score": 0.75,
        "dev/cats_macro_f": 0.75,
        "dev/accuracy": 0.8,
    }.items()
    assert recorded.summary == {"score": 0.75, "model": "the result"}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_run_of_an_interrupted_training_has_failed(
    monkeypatch: pytest.MonkeyPatch, plan: Planned, client: str
) -> None:
    recorded = replace_client(monkeypatch, client)
    with pytest.raises(KeyboardInterrupt):
        tracked(client, training(plan, fails=True))
    assert (recorded.status, recorded.summary) == ("failed", {})


@pytest.mark.parametrize("method", ["init", "log", "end"])
def test_a_tracker_that_fails_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, plan: Planned, method: str
) -> None:
    recorded = replace_client(monkeypatch, "wandb")

    def fail(*args: Any, **options: Any) -> None:
        raise ConnectionError("the server is down")

    if method == "init":
        monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    else:
        monkeypatch.setattr(Recorded, method, fail)
    events = tracked("wandb", training(plan))
    failed = [event for event in events if isinstance(event, TrackingFailed)]
    assert failed == [TrackingFailed("wandb", "the server is down")]
    assert [type(each) for each in events if isinstance(each, Planned | Stepped | Evaluated)] == [
        *(Planned, Stepped, Evaluated)
    ]
    assert events[-1] == "the result"
    assert recorded.status is None


def test_tracking_does_not_change_the_model(
    monkeypatch: pytest.MonkeyPatch, model: Path, data: str, tmp_path: Path
) -> None:
    arguments = replace(QUICK, epochs=1, freeze_encoder=True, learn_rate=None)
    finish(train_textcat(str(model), data, output=tmp_path / "one", arguments=arguments))
    recorded = replace_client(monkeypatch, "mlflow")
    log_params = sys.modules["mlflow"].log_params

    def draw_too(params: dict[str, Any]) -> None:
        random.random()
        log_params(params)

    monkeypatch.setattr(sys.modules["mlflow"], "log_params", draw_too)
    two = tmp_path / "two"
    finish(train_textcat(str(model), data, output=two, arguments=arguments, track="mlflow"))
    assert snapshot(two) == snapshot(tmp_path / "one")
    assert recorded.name == "two"
    assert len(recorded.values["train/loss"]) == 5
    assert len(recorded.summary["model"]) == 64


def test_a_client_that_is_not_installed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, model: Path, data: str
) -> None:
    monkeypatch.setattr("trfcli_pipeline.training.trackers.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="--track wandb needs wandb") as caught:
        list(train_textcat(str(model), data, track="wandb"))
    assert caught.value.hint == 'pip install "trfcli[wandb]"'
    with pytest.raises(ArgumentError, match="--track other: there is no such tracker"):
        check_tracker("other")
