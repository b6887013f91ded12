"""An update of the encoder: its sub-batches on their way forward and backward."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from thinc.api import xp2torch

from trfcli_pipeline.encoder.activations import Activations, Floats
from trfcli_pipeline.encoder.collector import Collector
from trfcli_pipeline.encoder.gradients import Found, add_up
from trfcli_pipeline.encoder.memory_budget import graph_budget, graph_bytes
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, pad_rows

if TYPE_CHECKING:
    from trfcli_pipeline.encoder.model import TransformersWrapper

Backprop = Callable[[Activations], None]


def begin_update(model: "TransformersWrapper", X: WordPieces) -> tuple[Activations, Backprop]:
    """Encode for training.

    Graphs are kept while they fit in memory, and go backward together. A sub-batch beyond that is
    encoded again in the backward pass, from the same random state, so that dropout falls on the
    same units. Where memory runs out all the same, graphs are given up first, and then sub-batches
    halved.
    """
    model.check_trainable()
    dropout = model.attrs["dropout_rate"]
    model.set_training(dropout)
    graphs = Graphs()
    collector = Collector(model, X)
    budget = graph_budget(model.device)
    tasks: list[Task] = []

    def forward(task: Task) -> Task:
        keep = task.keep and graphs.keeping
        output = task.forward(keep)
        collector.add(task.batch, output)
        if keep:
            graphs.hold(task, output)
        return task

    with model.forward_passes():
        for batch in model.sub_batches(X, is_train=True):
            budget -= graph_bytes(model, batch)
            task = Task(model, batch, keep=budget > 0)
            tasks += model.updating.run(forward, task, graphs.release)

    def backprop(d_activations: Activations) -> None:
        model.set_training(dropout)
        passes = [Pass([task for task in tasks if task.kept is not None])]
        passes += [Pass([task]) for task in tasks if task.kept is None]
        total: Found = [None] * len(model.gradients.weights)

        def backward(part: Pass) -> Sequence[torch.Tensor | None]:
            return part.gradients(model, d_activations)

        for whole in passes:
            # Added here, where each part of a pass has come to its end.
            for found in model.updating.run(backward, whole, graphs.release):
                add_up(total, found)
        # All of them or, where one fails, none.
        model.gradients.add(total)
        tasks.clear()
        graphs.release()

    return collector.activations(), backprop


class Graphs:
    """The graphs that are kept between the forward and the backward pass of an update.

    Attributes:
        keeping: Whether more may be kept. Not after memory has run out.
    """

    def __init__(self) -> None:
        self.keeping = True
        self.held: list[Task] = []

    def hold(self, task: "Task", output: Any) -> None:
        task.kept = output
        self.held.append(task)

    def release(self) -> bool:
        """Give up all of them. Returns whether there were any."""
        self.keeping = False
        held, self.held = self.held, []
        given_up = [task.take_kept() for task in held]
        return any(output is not None for output in given_up)


@dataclass(slots=True)
class Task:
    """A sub-batch on its way forward and backward.

    Attributes:
        keep: Whether its graph should fit in memory until the backward pass.
        kept: The output with its graph, where it is kept.
        random_states: Those that dropout started from, if there is any.
    """

    model: "TransformersWrapper"
    batch: SubBatch
    keep: bool
    kept: Any = None
    random_states: list[torch.Tensor] | None = None

    @property
    def size(self) -> int:
        return self.batch.size

    def halve(self) -> list["Task"]:
        # In a backward pass, dropout falls on other units in the parts than it did in the whole.
        return [replace(self, batch=part, kept=None) for part in self.batch.halve()]

    def forward(self, keep: bool) -> Any:
        """The output; with its graph, or such that it can be made again."""
        if self.model.module.training:
            self.random_states = _random_state(self.model.device)
        with torch.set_grad_enabled(keep):
            return self.model.encode_for_training(self.batch)

    def take_kept(self) -> Any:
        """The output with its graph, which nothing else holds; None if it wasn't kept."""
        kept, self.kept = self.kept, None
        return kept

    def output(self) -> Any:
        """What `forward` gave, with its graph: that which was kept or, if none was, made again."""
        kept = self.take_kept()
        if kept is not None:
            return kept
        with _random_state_restored(self.random_states, self.model.device):
            return self.model.encode_for_training(self.batch)


@dataclass(frozen=True, slots=True)
class Pass:
    """Sub-batches that go backward together.

    Their gradients are summed on the way: memory holds one for each weight, however many
    sub-batches there are.
    """

    tasks: list[Task]

    @property
    def size(self) -> int:
        return sum(task.size for task in self.tasks)

    def halve(self) -> list["Pass"]:
        middle = len(self.tasks) // 2
        if middle:
            return [Pass(self.tasks[:middle]), Pass(self.tasks[middle:])]
        return [Pass([part]) for task in self.tasks for part in task.halve()]

    def gradients(
        self, model: "TransformersWrapper", d_activations: Activations
    ) -> Sequence[torch.Tensor | None]:
        """The gradients of the weights, scaled."""
        with model.forward_passes():
            outputs = [task.output() for task in self.tasks]
        pairs = [
            pair
            for task, output in zip(self.tasks, outputs, strict=True)
            for pair in _outputs_and_gradients(task.batch, output, d_activations)
            # Nothing is trained below the outputs of frozen layers.
            if pair[0].requires_grad
        ]
        weights = model.gradients.weights
        if not pairs:
            return [None] * len(weights)
        tensors, gradients = zip(*pairs, strict=True)
        scaled = model.adamw.scaler.scale(gradients)
        return torch.autograd.grad(tensors, weights, scaled, allow_unused=True)


def _outputs_and_gradients(
    batch: SubBatch, output: Any, d_activations: Activations
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A sub-batch's outputs, each with its part of the gradients."""
    pairs = [(output.last_hidden_state, pad_rows(d_activations.last_hidden_state, batch))]
    if d_activations.pooler_output is not None:
        pairs.append(
            (output.pooler_output, _to_torch(d_activations.pooler_output[batch.segments], batch))
        )
    if d_activations.all_hidden_states is not None:
        for layer, gradient in zip(
            output.hidden_states, d_activations.all_hidden_states, strict=True
        ):
            pairs.append((layer, pad_rows(gradient, batch)))
    if d_activations.all_attentions is not None:
        for index, attentions in enumerate(output.attentions):
            gradient = torch.zeros_like(attentions)
            for row, segment in enumerate(batch.segments.tolist()):
                part = _to_torch(d_activations.all_attentions[segment][index], batch)
                gradient[row, :, : part.shape[1], : part.shape[2]] = part
            pairs.append((attentions, gradient))
    return pairs


def _to_torch(array: Floats, batch: SubBatch) -> torch.Tensor:
    contiguous: Any = np.ascontiguousarray(array)
    return xp2torch(contiguous, device=batch.mask.device)


def _random_state(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    return states


@contextmanager
def _random_state_restored(
    states: list[torch.Tensor] | None, device: torch.device
) -> Iterator[None]:
    if states is None:
        yield
        return
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        torch.set_rng_state(states[0])
        if devices:
            torch.get_device_module(device).set_rng_state(states[1], device)
        yield
