"""Updates whose kernels were captured as CUDA graphs, and start all at once.

On a GPU, starting the hundreds of kernels of a small update one by one takes several times as long
as running them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, Self

import torch

from trfcli_pipeline.encoder.gradients import WeightGradients
from trfcli_pipeline.encoder.padding import SubBatch
from trfcli_pipeline.encoder.random_states import random_states, set_random_states
from trfcli_pipeline.errors import is_out_of_memory

# Capturing takes as long as a few updates. Afterwards, an update takes a third of the time or less.
_N_UPDATES_BEFORE = 2
# Each holds some megabytes of the driver's memory.
_MAX_GRAPHS = 64


class Capture(NamedTuple):
    """A captured forward and backward pass.

    Attributes:
        output: What the forward pass returned. Replaying it writes to the same memory.
        replay_forward: Run the forward pass again, on what its inputs hold by then.
        replay_backward: Run the backward pass of the last forward pass.
    """

    output: Any
    replay_forward: Callable[[], None]
    replay_backward: Callable[[], None]


# Names of the outputs that get gradients.
Kinds = tuple[str, ...]
# Takes a forward pass, and a backward pass that takes the output of the forward pass.
Recorder = Callable[[Callable[[], Any], Callable[[Any], None]], Capture]


def cuda_recorder(device: torch.device) -> Recorder:
    """Create a function that captures CUDA graphs. They share a pool of memory."""
    stream, pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def captured(work: Callable[[], Any]) -> tuple[Any, torch.cuda.CUDAGraph]:
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile, to copy predictions for example.
        mode = "thread_local"
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode=mode):
            return work(), graph

    def record(forward: Callable[[], Any], backward: Callable[[Any], None]) -> Capture:
        with torch.cuda.device(device):
            # What libraries allocate on first use in a stream must not become part of a graph.
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                backward(forward())
            torch.cuda.current_stream().wait_stream(stream)
            output, forward_graph = captured(forward)
            _, backward_graph = captured(lambda: backward(output))
        return Capture(output, forward_graph.replay, backward_graph.replay)

    return record


class Signature(NamedTuple):
    """What the kernels of an update depend on, besides the numbers in its inputs and weights.

    Attributes:
        shape: Rows and length of the sub-batch.
        inputs: Names of the encoder's inputs.
        precision: The training precision.
        dropout: Rate of the encoder's dropout layers.
    """

    shape: tuple[int, ...]
    inputs: tuple[str, ...]
    precision: str
    dropout: float


class CapturedUpdate:
    """The forward and backward pass of sub-batches of one shape, to be replayed.

    Args:
        record: Captures the passes.
        encode: Runs the encoder on a sub-batch in the training precision.
        batch: Any sub-batch of the shape.
        kinds: Names of the outputs that get gradients.
        weights: The weights to compute gradients for.
        gradients: What `gradient_buffers` returned for these outputs.
    """

    def __init__(
        self,
        record: Recorder,
        encode: Callable[[SubBatch], Any],
        batch: SubBatch,
        kinds: Kinds,
        weights: Sequence[torch.Tensor],
        gradients: WeightGradients,
    ) -> None:
        self.kinds = kinds
        self._inputs = {name: each.clone() for name, each in batch.inputs.items()}
        self._gradients = gradients
        self._d_outputs: list[torch.Tensor] = []
        own = replace(batch, inputs=self._inputs)

        def backward(output: Any) -> None:
            tensors = [output[kind] for kind in kinds]
            # In the first run, which isn't captured.
            self._d_outputs = self._d_outputs or [torch.zeros_like(each) for each in tensors]
            compute_in_place(tensors, self._d_outputs, weights, gradients)

        passes = record(lambda: encode(own), backward)
        output, self._replay_forward, self._replay_backward = passes
        # Without autograd's graph, whose memory is for the other captured updates, too.
        self.output = type(output)(
            {name: each.detach() for name, each in output.items() if torch.is_tensor(each)}
        )

    def forward(self, batch: SubBatch) -> Any:
        """Encode a sub-batch. Returns a ModelOutput, which the next update overwrites."""
        for name, each in batch.inputs.items():
            self._inputs[name].copy_(each)
        self._replay_forward()
        return self.output

    def backward(self, d_outputs: Sequence[torch.Tensor]) -> WeightGradients:
        """Compute the gradients of the weights, which the next update overwrites."""
        for into, each in zip(self._d_outputs, d_outputs, strict=True):
            # The pooled output of empty rows gets no gradient.
            into[: len(each)].copy_(each)
            into[len(each) :].zero_()
        self._replay_backward()
        return list(self._gradients)


class CapturedUpdates:
    """Captures updates whose shape recurs. All captured updates share one memory.

    A copy captures its own.

    Args:
        device: The encoder's device.

    Attributes:
        owner: Whose activations are in the shared memory; only this one can run backward.
    """

    def __init__(self, device: torch.device) -> None:
        self.owner: object = None
        self._device = device
        self._record: Recorder | None = None
        self._has_failed = False
        self._counts: Counter[tuple[Signature, Kinds]] = Counter()
        # What the last update of a signature had gradients of: the next one probably has, too.
        self._kinds: dict[Signature, Kinds] = {}
        self._captured: dict[tuple[Signature, Kinds], CapturedUpdate] = {}
        self._gradients: dict[Kinds, WeightGradients] = {}
        self._addresses: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self._device)

    def count(self, signature: Signature, kinds: Kinds) -> None:
        """Count an update that wasn't replayed.

        Args:
            kinds: Names of the outputs that got gradients.
        """
        self._kinds[signature] = kinds
        self._counts[signature, kinds] += 1

    def find(
        self,
        signature: Signature,
        encode: Callable[[SubBatch], Any],
        batch: SubBatch,
        weights: Sequence[torch.Tensor],
    ) -> CapturedUpdate | None:
        """The captured update of a signature; it is captured now if updates like it recur.

        Args:
            encode: Runs the encoder on a sub-batch in the training precision.
            weights: The weights to compute gradients for. If they have moved to other memory,
                earlier updates are forgotten.
        """
        addresses = [each.data_ptr() for each in weights]
        if addresses != self._addresses:
            self.clear()
            self._addresses = addresses
        kinds = self._kinds.get(signature, ())
        key = signature, kinds
        recurs = self._counts[key] >= _N_UPDATES_BEFORE and len(self._captured) < _MAX_GRAPHS
        if recurs and key not in self._captured and not self._has_failed:
            self._record = self._record or cuda_recorder(self._device)
            states = random_states(self._device)
            try:
                with torch.enable_grad():
                    if kinds not in self._gradients:
                        found = gradient_buffers(encode, batch, kinds, weights)
                        self._gradients[kinds] = found
                    self._captured[key] = CapturedUpdate(
                        self._record, encode, batch, kinds, weights, self._gradients[kinds]
                    )
            except RuntimeError as error:
                # Shapes are padded as before: a training that is resumed would do that, too.
                self.clear()
                # Otherwise, the encoder decides by what it has computed.
                self._has_failed = not is_out_of_memory(error)
            finally:
                set_random_states(states, self._device)
        return self._captured.get(key)

    def gradients(self, kinds: Kinds) -> WeightGradients | None:
        """The memory for the gradients of captured updates; None if none was captured.

        Other updates may use it while there is no `owner`: a second set would take as much memory
        as the weights.
        """
        return self._gradients.get(kinds)

    def clear(self) -> bool:
        """Forget all updates, and release the memory of captured ones. Returns whether any were."""
        were_any = bool(self._captured)
        self.owner = None
        self._counts.clear()
        self._kinds.clear()
        self._captured.clear()
        self._gradients.clear()
        return were_any


def gradient_buffers(
    encode: Callable[[SubBatch], Any],
    batch: SubBatch,
    kinds: Kinds,
    weights: Sequence[torch.Tensor],
) -> WeightGradients:
    """Memory for the gradients of the weights; None for those on which no output depends."""
    output = encode(batch)
    tensors = [output[kind] for kind in kinds]
    zeros = [torch.zeros_like(each) for each in tensors]
    with _gradients_in(weights, [None] * len(weights)):
        # Gradients of zeros in the layout of their weights.
        torch.autograd.backward(tensors, zeros, inputs=weights)
        return [each.grad for each in weights]


def compute_in_place(
    tensors: Sequence[torch.Tensor],
    d_tensors: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    gradients: WeightGradients,
) -> None:
    """Compute the gradients of the weights in memory that they have already.

    Added up in place, each is released before the next one is computed.

    Args:
        tensors: Outputs of the encoder.
        d_tensors: Their gradients.
        weights: The weights.
        gradients: What `gradient_buffers` returned for these outputs.
    """
    torch._foreach_zero_([each for each in gradients if each is not None])
    with _gradients_in(weights, gradients):
        trained = [each for each in weights if each.grad is not None]
        torch.autograd.backward(tensors, d_tensors, inputs=trained)


@contextmanager
def _gradients_in(weights: Sequence[torch.Tensor], gradients: WeightGradients) -> Iterator[None]:
    """A context in which the weights have other gradients."""
    before = [each.grad for each in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    try:
        yield
    finally:
        for weight, gradient in zip(weights, before, strict=True):
            weight.grad = gradient
