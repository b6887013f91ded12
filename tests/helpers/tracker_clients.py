"""Stand-ins for the clients of experiment trackers, with the calls that trf makes."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@dataclass
class Recorded:
    """What a client was asked to log.

    Attributes:
        values: Numbers by their names, each with its step.
        status: How the run ended; None while it goes on.
    """

    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    status: str | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        assert self.status is None
        for name, value in values.items():
            self.values.setdefault(name, []).append((step, value))

    def end(self, status: str) -> None:
        assert self.status is None
        self.status = status


def _wandb(recorded: Recorded) -> dict[str, Any]:
    def init(*, name: str, project: str, config: dict[str, Any], settings: Any) -> Any:
        recorded.name, recorded.settings = name, config
        assert (project, settings) == ("trf", {"silent": True, "console": "off"})
        return SimpleNamespace(
            offline=True,
            dir="wandb/offline-run",
            log=recorded.log,
            summary=recorded.summary,
            finish=lambda exit_code=0: recorded.end("failed" if exit_code else "finished"),
        )

    return {"init": init, "Settings": dict}


def _mlflow(recorded: Recorded) -> dict[str, Any]:
    def start_run(run_name: str) -> None:
        recorded.name = run_name

    def log_params(params: dict[str, Any]) -> None:
        assert len(params) <= 100
        assert not any("@" in name for name in params)
        recorded.settings |= params

    def log_metrics(values: dict[str, float], step: int, synchronous: bool) -> None:
        assert not synchronous
        recorded.log(values, step)

    return {
        "start_run": start_run,
        "get_tracking_uri": lambda: "sqlite:///mlflow.db",
        "log_params": log_params,
        "log_metrics": log_metrics,
        "set_tags": recorded.summary.update,
        "flush_async_logging": lambda: None,
        "end_run": lambda status: recorded.end(status.lower()),
    }


def _tensorboard(recorded: Recorded) -> dict[str, Any]:
    class SummaryWriter:
        def __init__(self, log_dir: str) -> None:
            recorded.name = log_dir.rpartition("_")[2]

        def add_text(self, tag: str, text: str) -> None:
            assert all(line.startswith("    ") for line in text.splitlines())
            {"settings": recorded.settings, "result": recorded.summary}[tag].update(
                json.loads(text)
            )

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            recorded.log({tag: value}, step)

        def close(self) -> None:
            recorded.end("finished" if recorded.summary else "failed")

    return {"SummaryWriter": SummaryWriter}


CLIENTS = {"wandb": _wandb, "mlflow": _mlflow, "tensorboard": _tensorboard}


def replace_client(monkeypatch: pytest.MonkeyPatch, name: str) -> Recorded:
    """Put a stand-in in place of a client, whether that is installed or not."""
    recorded = Recorded()
    for module in (name, *(["torch.utils.tensorboard"] if name == "tensorboard" else [])):
        stand_in = ModuleType(module)
        stand_in.__spec__ = ModuleSpec(module, None)
        vars(stand_in).update(CLIENTS[name](recorded))
        monkeypatch.setitem(sys.modules, module, stand_in)
    return recorded
