"""An update of the encoder: its sub-batches on their way forward and backward."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from thinc.api import xp2torch

from trfcli_pipeline.activations import Activations, Floats
from trfcli_pipeline.collecting import Collector
from trfcli_pipeline.gradients import Found, add_up, sparse_embeddings
from trfcli_pipeline.padding import SubBatch, WordPieces, pad_rows
from trfcli_pipeline.streams import run_streams

if TYPE_CHECKING:
    from trfcli_pipeline.wrapper import TransformersWrapper

Backprop = Callable[[Activations], None]


def begin_update(model: "TransformersWrapper", X: WordPieces) -> tuple[Activations, Backprop]:
    """Encode for training.

    Graphs are kept while they fit in memory. A sub-batch beyond that is encoded again in the
    backward pass, from the same random state, so that dropout falls on the same units.
    """
    dropout = model.attrs["dropout_rate"]
    model.set_training(dropout)
    budget = model.graph_budget()
    collector = Collector(model, X)
    tasks = []
    for batch in model.sub_batches(X):
        budget -= model.graph_bytes(batch)
        tasks.append(Task(model, batch, keep=budget > 0))
    with sparse_embeddings(model.module):
        outputs = run_streams(Task.forward, tasks, model.n_streams)
        for task, output in zip(tasks, outputs, strict=True):
            collector.add(task.batch, output)

    def backprop(d_activations: Activations) -> None:
        model.set_training(dropout)
        n_streams = max(min(model.n_streams, len(tasks)), 1)
        streams = [tasks[first::n_streams] for first in range(n_streams)]
        work = partial(_backward_stream, model, d_activations)
        with sparse_embeddings(model.module):
            for found in run_streams(work, streams, n_streams):
                model.gradients.add(found)
        tasks.clear()

    return collector.activations(), backprop


@dataclass(slots=True)
class Task:
    """A sub-batch on its way forward and backward.

    Attributes:
        keep: Whether its graph is held from the one to the other.
    """

    model: "TransformersWrapper"
    batch: SubBatch
    keep: bool
    output: Any = None
    random_states: list[torch.Tensor] | None = None

    def forward(self) -> Any:
        if not self.keep:
            self.random_states = _random_state(self.model.device)
        with torch.set_grad_enabled(self.keep):
            output = self.model.encode(self.batch)
        self.output = output if self.keep else None
        return output

    def take_output(self) -> Any:
        """The output with its graph, which nothing else holds any longer."""
        output, self.output = self.output, None
        if output is None:
            with _random_state_restored(self.random_states, self.model.device):
                output = self.model.encode(self.batch)
        return output


def _backward_stream(
    model: "TransformersWrapper", d_activations: Activations, tasks: Sequence[Task]
) -> Found:
    """The gradients of the weights, summed over some sub-batches in their order.

    Not in the weights' own `grad`: that is where several streams would meet, in any order.
    """
    weights = model.gradients.weights
    total: Found = [None] * len(weights)
    for task in tasks:
        pairs = _outputs_and_gradients(model, task.batch, task.take_output(), d_activations)
        tensors, gradients = zip(*pairs, strict=True)
        add_up(total, torch.autograd.grad(tensors, weights, gradients, allow_unused=True))
    return total


def _outputs_and_gradients(
    model: "TransformersWrapper", batch: SubBatch, output: Any, d_activations: Activations
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
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        if states is not None:
            torch.set_rng_state(states[0])
            if devices:
                torch.get_device_module(device).set_rng_state(states[1], device)
        yield
