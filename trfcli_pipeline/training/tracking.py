"""Passes the events of a training on, and logs them to an experiment tracker on the way."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import torch

from trfcli_pipeline.errors import one_line
from trfcli_pipeline.training.checkpoints import random_state, restore_random_state
from trfcli_pipeline.training.events import (
    Evaluated,
    Planned,
    Stepped,
    TrackingFailed,
    TrackingStarted,
    TrainingEvent,
)
from trfcli_pipeline.training.provenance import settings_of
from trfcli_pipeline.training.trackers import TRACKERS, Tracker
from trfcli_pipeline.training.trainer import history_row

Result = TypeVar("Result")


def track(
    events: Generator[TrainingEvent, None, Result],
    client: str,
    name: str,
    identity: Mapping[str, Any],
    summarize: Callable[[Result], Mapping[str, Any]],
) -> Generator[TrainingEvent, None, Result]:
    """Log settings, losses, learning rates, scores and the result of a training as one run.

    A tracker that fails doesn't stop the training: that is reported, and nothing more is logged.

    Args:
        events: The events of the training.
        client: Name of the tracker; see `TRACKERS`.
        name: Name of the run.
        identity: What the training depends on; see `provenance.identify`.
        summarize: Returns the final facts for what `events` returned.

    Yields:
        The events; a `TrackingStarted` before the plan; and one `TrackingFailed` if logging fails.
    """
    run = _Run(client, name, identity)
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: Result = stop.value
                break
            yield from run.attempt(run.take, event)
            yield event
    except BaseException:
        for _ in run.attempt(run.abort):
            pass
        raise
    yield from run.attempt(run.finish, summarize(result))
    return result


class _Run:
    """A run of a tracker, until that fails.

    Args:
        client: Name of the tracker.
    """

    def __init__(self, client: str, name: str, identity: Mapping[str, Any]) -> None:
        self.client = client
        self.name = name
        self.identity = identity
        self.tracker: Tracker | None = None
        self.plan: Planned | None = None
        self.has_failed = False

    def attempt(
        self, function: Callable[..., TrainingEvent | None], *args: Any
    ) -> Generator[TrainingEvent, None, None]:
        """Call a method unless an earlier call failed, and yield what there is to report."""
        if self.has_failed:
            return
        try:
            event = function(*args)
        # The clients raise anything: errors of the network, of their servers, of the disk.
        except Exception as error:
            self.has_failed = True
            event = TrackingFailed(self.client, one_line(error))
        if event is not None:
            yield event

    def take(self, event: TrainingEvent) -> TrainingEvent | None:
        """Log an event."""
        match event:
            case Planned():
                return self._start(event)
            case Stepped() if self.plan is not None and self.tracker is not None:
                optimizer: Any = self.plan.config.optimizer
                values = {"train/loss": event.loss, "train/learn_rate": optimizer.learn_rate}
                if self.plan.config.trf_lr is not None:
                    values["train/trf_lr"] = optimizer.trf_lr
                self.tracker.log(event.step, values)
            case Evaluated() if self.tracker is not None:
                row = history_row(event)
                scores = {
                    f"dev/{key}": value
                    for key, value in row.items()
                    if isinstance(value, float) and key not in ("loss", "epoch")
                }
                speed = {
                    "train/epoch": event.epoch,
                    "train/words_per_second": event.words_per_second,
                }
                self.tracker.log(event.step, scores | speed)
        return None

    def _start(self, plan: Planned) -> TrackingStarted:
        facts = {
            f"identity.{key.removeprefix('the ').replace(' ', '_')}": value
            for key, value in self.identity.items()
            if isinstance(value, str)
        }
        settings = {**settings_of(plan.config), **facts, "device": plan.device}
        self.plan = plan
        # A client that draws random numbers, for a name, must not change the training.
        device = torch.device(plan.device)
        state = random_state(device)
        try:
            self.tracker = TRACKERS[self.client](self.name, settings)
        finally:
            restore_random_state(state, device)
        return TrackingStarted(self.client, self.tracker.place)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """End the run."""
        if self.tracker is not None:
            self.tracker.finish(summary)

    def abort(self) -> None:
        """End the run of a training that failed or was interrupted."""
        if self.tracker is not None:
            self.tracker.abort()
