"""Experiment trackers: Weights & Biases, MLflow and TensorBoard, each through its own client.

spaCy's loggers (spacy-loggers) log only at evaluations, have no place for the facts that are known
at the end, and don't know TensorBoard. Each client is an extra and is imported only if it is used.
Its own environment variables say where it logs to.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from trfcli_pipeline.errors import ArgumentError

# Settings that MLflow takes in one request.
_MLFLOW_BATCH = 100


class Tracker(Protocol):
    """A run that is being tracked.

    Attributes:
        place: Where to look at it: an address or a directory; "" if the client doesn't say.
    """

    place: str

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers that belong to a step."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """End a run that was successful, with its final facts."""

    def abort(self) -> None:
        """End a run that wasn't."""


class WandbTracker:
    """Logs to Weights & Biases. The project is that of `WANDB_PROJECT`, or else "trf"."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        wandb = import_module("wandb")
        self._run = wandb.init(
            name=name,
            project=os.environ.get("WANDB_PROJECT", "trf"),
            config=dict(settings),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.place = str(self._run.dir if self._run.offline else self._run.url)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish()

    def abort(self) -> None:
        self._run.finish(exit_code=1)


class MlflowTracker:
    """Logs to MLflow, at `MLFLOW_TRACKING_URI` and in `MLFLOW_EXPERIMENT_NAME`."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        # Otherwise it reports that it creates tables, and the address of the run.
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._mlflow = import_module("mlflow")
        self._mlflow.start_run(run_name=name)
        self.place = str(self._mlflow.get_tracking_uri())
        # "@" isn't allowed in names.
        items = [(key.replace("@", ""), value) for key, value in settings.items()]
        for start in range(0, len(items), _MLFLOW_BATCH):
            self._mlflow.log_params(dict(items[start : start + _MLFLOW_BATCH]))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # Training doesn't wait for the server.
        self._mlflow.log_metrics(dict(values), step=step, synchronous=False)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._mlflow.set_tags(dict(summary))
        self._end("FINISHED")

    def abort(self) -> None:
        self._end("FAILED")

    def _end(self, status: str) -> None:
        try:
            self._mlflow.flush_async_logging()
        finally:
            self._mlflow.end_run(status)


class TensorBoardTracker:
    """Writes event files for TensorBoard to `TENSORBOARD_LOGGING_DIR`, or else to "runs"."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        tensorboard = import_module("torch.utils.tensorboard")
        start = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        folder = Path(os.environ.get("TENSORBOARD_LOGGING_DIR", "runs")) / f"{start}_{name}"
        self._writer = tensorboard.SummaryWriter(str(folder))
        self.place = str(folder)
        self._add("settings", settings)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._add("result", summary)
        self._writer.close()

    def abort(self) -> None:
        self._writer.close()

    def _add(self, name: str, values: Mapping[str, Any]) -> None:
        """Add values as text. TensorBoard shows indented lines of Markdown as they are."""
        lines = json.dumps(values, indent=2, default=str).splitlines()
        self._writer.add_text(name, "\n".join(f"    {line}" for line in lines))


# Each takes the name of the run and its settings.
TRACKERS: Mapping[str, Callable[[str, Mapping[str, Any]], Tracker]] = {
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
    "tensorboard": TensorBoardTracker,
}


def check_tracker(name: str) -> None:
    """Check that the client of a tracker is installed.

    Raises:
        ArgumentError: It isn't, or there is no such tracker.
    """
    if name not in TRACKERS:
        raise ArgumentError(
            f"--track {name}: there is no such tracker", hint=f"Available: {', '.join(TRACKERS)}"
        )
    if find_spec(name) is None:
        raise ArgumentError(
            f"--track {name} needs {name}, which isn't installed",
            hint=f'pip install "trfcli[{name}]"',
        )
