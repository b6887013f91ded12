"""The forward and backward pass of an update of the encoder."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.captured_updates import CapturedUpdate, Signature, compute_in_place
from trfcli_pipeline.encoder.collector import Collector
from trfcli_pipeline.encoder.gradients import WeightGradients, add_gradients
from trfcli_pipeline.encoder.memory_budget import graph_budget, graph_bytes
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, pad_rows
from trfcli_pipeline.encoder.random_states import random_states, set_random_states
from trfcli_pipeline.encoder.recurring_shapes import recurring_shape
from trfcli_pipeline.encoder.segment_sums import upload_gradients
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.sub_batches import sub_batches

# Graphs of so many bytes are kept without asking for the free memory.
_SMALL_GRAPHS = 2**28

Backprop = Callable[[Activations], None]


def begin_update(
    shim: TransformersShim,
    X: WordPieces,
    *,
    words_per_batch: int | str | None,
    dropout: float,
) -> tuple[Activations, Backprop]:
    """Encode a batch for training.

    Sub-batches whose graphs fit in memory keep them. The others are recomputed in the backward pass
    (gradient checkpointing, Chen et al. 2016), from the same random state, so that the same units
    are dropped. The gradients are the same bit for bit. If memory runs out all the same, the kept
    graphs are released first, and then sub-batches are halved.

    On a GPU, updates of a single small sub-batch are captured; see `captured_updates`.

    Args:
        words_per_batch: See `sub_batches.sub_batches`.

    Returns:
        The activations as tensors on the encoder's device, and a callback that takes their
        gradients as arrays and adds those of the weights to the parameters' `grad`.

    Raises:
        PipelineError: The encoder can't be trained.
        DeviceError: This process can't use the encoder's device, or a single segment doesn't fit in
            memory.
    """
    shim.check_process()
    shim.check_trainable()
    shim.expect_updates(len(X.ids))
    shim.set_dropout(dropout)
    collector = Collector(shim, X)
    batches = sub_batches(shim, X, words_per_batch, is_train=True)
    needed = sum(graph_bytes(shim, each.shape) for each in batches)
    # On a GPU, asking for the free memory takes as long as a dozen kernels.
    is_small = shim.device.type != "cpu" and needed < _SMALL_GRAPHS
    budget: float = math.inf if is_small else graph_budget(shim.device)
    passes: list[TrainingPass] = []

    def release_graphs() -> bool:
        """Release all graphs and keep no more. Returns whether there were any."""
        nonlocal budget
        budget = -math.inf
        kept = [each for each in passes if each.output is not None or each.captured is not None]
        for each in kept:
            each.output = each.captured = None
        return shim.captured_updates.clear() or bool(kept)

    def forward(each: TrainingPass) -> None:
        keep_graph = budget > 0
        # Of an earlier try that ran out of memory.
        each.captured = None
        output = each.replay() if keep_graph and len(batches) == 1 else None
        if output is None:
            output = each.run(keep_graph)
        collector.add(each.batch, output)
        if keep_graph and each.captured is None:
            each.output = output
        passes.append(each)

    with shim.training_context():
        for batch in batches:
            budget -= graph_bytes(shim, batch.shape)
            list(shim.updating.run(forward, TrainingPass(shim, batch), release_graphs))

    def backprop(d_activations: Activations) -> None:
        shim.set_dropout(dropout)
        d_tensors = upload_gradients(d_activations, shim.device)
        total: WeightGradients = [None] * len(shim.gradients.weights)

        def backward(each: TrainingPass) -> Sequence[torch.Tensor | None]:
            is_first = all(gradient is None for gradient in total)
            return each.gradients(d_tensors, is_first=is_first)

        # One by one and always in the same order, or the sums of their gradients would depend on
        # which graphs fit in memory.
        for each in reversed(passes):
            # Added only after each part has succeeded, so that nothing is counted twice.
            for gradients in shim.updating.run(backward, each, release_graphs):
                add_gradients(total, gradients)
        # If a pass fails, the parameters' gradients stay as they were.
        shim.gradients.add(total)
        passes.clear()

    return collector.activations(), backprop


@dataclass(slots=True)
class TrainingPass:
    """The forward and the backward pass of one sub-batch.

    Attributes:
        output: transformers' ModelOutput with its graph, if that is kept.
        random_states: The random states at its start, if there is dropout.
        captured: The captured update that was replayed, if one was.
    """

    shim: TransformersShim
    batch: SubBatch
    output: Any = None
    random_states: list[torch.Tensor] | None = None
    captured: CapturedUpdate | None = None

    @property
    def size(self) -> int:
        return self.batch.size

    def halve(self) -> list["TrainingPass"]:
        # When recomputed, the halves drop other units than the whole did.
        parts = self.batch.halve()
        return [replace(self, batch=part, output=None, captured=None) for part in parts]

    def signature(self) -> Signature | None:
        """What a captured update must have in common with this one; None if none can."""
        shim, shape = self.shim, self.batch.shape
        if recurring_shape(shim, *shape) != shape:
            return None
        return Signature(shape, tuple(self.batch.inputs), shim.precision, shim.dropout)

    def replay(self) -> Any:
        """Encode the sub-batch with captured kernels; None if updates like it don't recur."""
        signature, weights = self.signature(), self.shim.gradients.weights
        # Gradients of the steps before would be overwritten.
        if signature is None or any(each.grad is not None for each in weights):
            return None
        updates = self.shim.captured_updates
        captured = updates.find(signature, self.shim.encode_for_capture, self.batch, weights)
        if captured is None:
            return None
        self._remember_random_states()
        output = captured.forward(self.batch)
        self.captured, updates.owner = captured, self
        return output

    def run(self, keep_graph: bool) -> Any:
        """Encode the sub-batch, with or without a graph."""
        self._remember_random_states()
        with torch.set_grad_enabled(keep_graph):
            return self.shim.encode_for_training(self.batch)

    def take_output(self) -> Any:
        """Return the kept output and drop the reference to it, or recompute it."""
        output, self.output = self.output, None
        if output is not None:
            return output
        with _restored_random_states(self.random_states, self.shim.device):
            return self.shim.encode_for_training(self.batch)

    def gradients(
        self, d_activations: Activations, *, is_first: bool
    ) -> Sequence[torch.Tensor | None]:
        """Compute the gradients of the weights, multiplied by the gradient scaler's factor.

        Args:
            d_activations: The gradients of the encoder's outputs.
            is_first: Whether no other sub-batch of this update has gradients yet.
        """
        scale, kinds = self.shim.adamw.scaler.scale, _kinds(d_activations)
        captured, self.captured = self.captured, None
        updates = self.shim.captured_updates
        if captured and captured.kinds == kinds and updates.owner is self:
            updates.owner = None
            pairs = outputs_and_gradients(self.batch, captured.output, d_activations)
            return captured.backward(scale([gradient for _, gradient in pairs]))
        with self.shim.training_context():
            output = self.take_output()
        with torch.enable_grad():
            pairs = outputs_and_gradients(self.batch, output, d_activations)
        # The outputs of frozen layers depend on nothing that is trained.
        pairs = [pair for pair in pairs if pair[0].requires_grad]
        weights = self.shim.gradients.weights
        if not pairs:
            return [None] * len(weights)
        if len(pairs) == len(kinds) and (signature := self.signature()):
            updates.count(signature, kinds)
        tensors, gradients = zip(*pairs, strict=True)
        is_alone = is_first and updates.owner is None and len(pairs) == len(kinds)
        into = updates.gradients(kinds) if is_alone else None
        if into is None or any(each.grad is not None for each in weights):
            return torch.autograd.grad(tensors, weights, scale(gradients), allow_unused=True)
        compute_in_place(tensors, scale(gradients), weights, into)
        return into

    def _remember_random_states(self) -> None:
        if self.shim.module.training:
            self.random_states = random_states(self.shim.device)


def _kinds(d_activations: Activations) -> tuple[str, ...]:
    """Names of the outputs that have gradients, without those that are never captured."""
    kinds = ("last_hidden_state", "pooler_output")
    return tuple(kind for kind in kinds if getattr(d_activations, kind) is not None)


def outputs_and_gradients(
    batch: SubBatch, output: Any, d_activations: Activations
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pair each output of a sub-batch with its part of the gradients, which are tensors."""
    pairs = []
    if d_activations.last_hidden_state is not None:
        gradient = pad_rows(d_activations.last_hidden_state, batch)
        pairs.append((output.last_hidden_state, gradient))
    if d_activations.pooler_output is not None:
        pooled = output.pooler_output[: len(batch.segments)]
        pairs.append((pooled, d_activations.pooler_output[batch.rows]))
    if d_activations.all_hidden_states is not None:
        for layer, rows in zip(output.hidden_states, d_activations.all_hidden_states, strict=True):
            pairs.append((layer, pad_rows(rows, batch)))
    if d_activations.all_attentions is not None:
        for index, attentions in enumerate(output.attentions):
            gradient = torch.zeros_like(attentions)
            for row, segment in enumerate(batch.segments.tolist()):
                part = d_activations.all_attentions[segment][index]
                gradient[row, :, : part.shape[1], : part.shape[2]] = part
            pairs.append((attentions, gradient))
    return pairs


@contextmanager
def _restored_random_states(
    states: list[torch.Tensor] | None, device: torch.device
) -> Iterator[None]:
    if states is None:
        yield
        return
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        set_random_states(states, device)
        yield
