"""The Thinc model around the torch encoder, with an AdamW of its own."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
import torch
from thinc.api import Model, Optimizer, xp2torch

from trfcli_pipeline import pretrained
from trfcli_pipeline.activations import Activations, Floats
from trfcli_pipeline.collecting import Collector
from trfcli_pipeline.devices import free_bytes, graph_bytes_per_piece, resolve_device
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.gradients import Found, Gradients, add_up, sparse_embeddings
from trfcli_pipeline.padding import SubBatch, WordPieces, divide, pad, pad_rows
from trfcli_pipeline.streams import count_streams, run_streams
from trfcli_pipeline.traits import Traits, call_options, find_traits, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What an optimizer that says nothing about the encoder (any of Thinc's) is taken to mean. The
# head's rate would be far too high.
DEFAULT_TRF_LR = 5e-5
DEFAULT_TRF_WEIGHT_DECAY = 0.01
# The part of the free memory that graphs may take before sub-batches are computed twice.
_GRAPH_SHARE = 0.5
# Where several sub-batches run at once, larger ones than these gain nothing ...
_STREAM_PIECES = 1024
# ... and smaller ones than these cost more in calls than they gain.
_LEAST_PIECES = 192

Backprop = Callable[[Activations], None]


class TransformersWrapper(Model[WordPieces, Activations]):
    """Encodes wordpieces, in sub-batches of segments of like length.

    `predict` and `begin_update` take `WordPieces` and give `Activations`; the callback of
    `begin_update` takes the gradients of these and adds those of the weights to the torch
    parameters. `finish_update` takes one step of AdamW.

    The dropout rate (`thinc.api.set_dropout_rate`) replaces that of the encoder's own dropout
    layers; at 0.0, as before any is set, an update runs the encoder as a prediction does.

    Args:
        words_per_batch: Wordpieces of a sub-batch, padding included; 0 for one sub-batch.
        device: Where the encoder runs; see `devices.resolve_device`.
        all_hidden_states: Whether to return the output of every layer.
        all_attentions: Whether to return the attentions.
    """

    def __init__(
        self,
        *,
        words_per_batch: int = 2000,
        device: str = "auto",
        all_hidden_states: bool = False,
        all_attentions: bool = False,
    ) -> None:
        super().__init__(
            "transformers",
            _forward,
            dims={"nO": None},
            attrs={"words_per_batch": words_per_batch, "dropout_rate": 0.0},
        )
        self.device = resolve_device(device)
        self.all_hidden_states = all_hidden_states
        self.all_attentions = all_attentions
        self._module: PreTrainedModel | None = None
        self._adamw: torch.optim.AdamW | None = None
        # The trained rates of the dropout layers, to tell those that were off for good.
        self._dropouts: list[torch.nn.Dropout] = []
        self._traits = Traits()

    @property
    def is_loaded(self) -> bool:
        return self._module is not None

    @property
    def module(self) -> "PreTrainedModel":
        """The torch module.

        Raises:
            PipelineError: No weights were loaded yet.
        """
        if self._module is None:
            raise PipelineError(
                "The encoder's weights aren't loaded yet",
                hint="Call nlp.initialize(), or build the component with from_pretrained",
            )
        return self._module

    def load(self, path: Path) -> None:
        """Take the weights from a directory in Hugging Face's format."""
        module = pretrained.load_encoder(
            path, all_attentions=self.all_attentions, device=self.device
        )
        self._traits = find_traits(
            module,
            all_hidden_states=self.all_hidden_states,
            all_attentions=self.all_attentions,
        )
        self._module = module
        self.gradients = Gradients(module)
        self._adamw = None
        self._dropouts = [
            part for part in module.modules() if isinstance(part, torch.nn.Dropout) and part.p
        ]
        self.set_dim("nO", self._traits.width, force=True)

    def to(self, device: str) -> None:
        """Move the encoder to another device."""
        self.device = resolve_device(device)
        if self._module is not None:
            torch.nn.Module.to(self._module, self.device)
            # What is bound to the parameters on the old device.
            self._adamw = None
            self.gradients = Gradients(self._module)

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take one AdamW step with the gradients that have gathered, and clear them.

        Args:
            optimizer: Its `trf_lr`, `trf_weight_decay` and `grad_clip` (global norm) are used.
        """
        module = self.module
        parameters = [each for each in module.parameters() if each.grad is not None]
        if not parameters:
            return
        if self._adamw is None:
            self._adamw = _make_adamw(module)
        decays, others = self._adamw.param_groups
        decays["lr"] = others["lr"] = getattr(optimizer, "trf_lr", DEFAULT_TRF_LR)
        decays["weight_decay"] = getattr(optimizer, "trf_weight_decay", DEFAULT_TRF_WEIGHT_DECAY)
        if optimizer.grad_clip:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.grad_clip)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)

    def training_state(self) -> dict[str, torch.Tensor]:
        """The weights, and what AdamW remembers about them; see `restore_training_state`."""
        state = {f"encoder.{name}": each for name, each in self.module.named_parameters()}
        if self._adamw is not None:
            for index, memory in self._adamw.state_dict()["state"].items():
                state |= {f"adamw.{index}.{name}": each for name, each in memory.items()}
        return {name: each.detach() for name, each in state.items()}

    def restore_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `training_state` returned."""
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.copy_(state[f"encoder.{name}"])
        memories: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adamw."):
                _, index, name = key.split(".")
                memories.setdefault(int(index), {})[name] = value
        self._adamw = None
        if memories:
            self._adamw = _make_adamw(self.module)
            groups = self._adamw.state_dict()["param_groups"]
            self._adamw.load_state_dict({"state": memories, "param_groups": groups})

    def __reduce__(self) -> tuple[Any, ...]:
        # A module that has returned hidden states carries hooks of transformers that don't pickle.
        settings = {
            "words_per_batch": self.attrs["words_per_batch"],
            "device": str(self.device),
            "all_hidden_states": self.all_hidden_states,
            "all_attentions": self.all_attentions,
        }
        return _from_state, (settings, self.to_bytes() if self.is_loaded else None)

    def to_disk(self, path: Path | str) -> None:
        pretrained.save(self.module.save_pretrained, Path(path))

    def from_disk(self, path: Path | str) -> "TransformersWrapper":
        self.load(Path(path))
        return self

    def to_bytes(self) -> bytes:
        return srsly.msgpack_dumps(pretrained.to_files(self.module.save_pretrained))

    def from_bytes(self, bytes_data: bytes) -> "TransformersWrapper":
        with pretrained.from_files(srsly.msgpack_loads(bytes_data)) as path:
            self.load(path)
        return self

    def sub_batches(self, X: WordPieces) -> Iterator[SubBatch]:
        """Pad the segments, sub-batch by sub-batch. Segments without wordpieces are left out."""
        if not self._traits.has_types:
            X = replace(X, type_ids=None)
        padding = pad_id(self.module)
        words_per_batch = self._words_per_stream(int(X.lengths.sum()))
        groups = divide(X.lengths, words_per_batch, ignores_padding=self._traits.ignores_padding)
        for segments in groups:
            yield pad(X, segments, padding, self.device)

    def encode(self, batch: SubBatch) -> Any:
        """Run the encoder on a sub-batch. Returns the transformers ModelOutput."""
        options = call_options(
            self._traits.arguments,
            output_hidden_states=self.all_hidden_states,
            output_attentions=self.all_attentions,
        )
        return self.module(**batch.inputs, **options)

    def predict_batch(self, batch: SubBatch) -> Any:
        """Run the encoder on a sub-batch, in whichever thread, for its outputs only."""
        with torch.inference_mode():
            return self.encode(batch)

    @property
    def n_streams(self) -> int:
        """How many sub-batches are encoded at once."""
        if self.module.training:
            # Dropout draws from one generator, in the order in which threads happen to run.
            return 1
        return count_streams(self.device)

    def _words_per_stream(self, n_pieces: int) -> int:
        """Wordpieces of a sub-batch, such that each stream gets some."""
        words_per_batch = self.attrs["words_per_batch"]
        if not words_per_batch or self.n_streams == 1:
            return words_per_batch
        wanted = min(_STREAM_PIECES, math.ceil(n_pieces / self.n_streams))
        return min(words_per_batch, max(wanted, _LEAST_PIECES))

    def set_training(self, dropout: float) -> None:
        """Prepare for a forward or backward pass with this dropout rate; 0.0 is no training."""
        self.module.train(dropout > 0)
        for part in self._dropouts:
            part.p = dropout

    def graph_budget(self) -> int:
        """Bytes that the graphs of an update's sub-batches may take together."""
        return int(_GRAPH_SHARE * free_bytes(self.device))

    def graph_bytes(self, batch: SubBatch) -> int:
        """Estimated bytes of the sub-batch's graph."""
        config = self.module.config
        rows, length = batch.mask.shape
        return (
            rows
            * length
            * graph_bytes_per_piece(
                layers=config.num_hidden_layers,
                width=config.hidden_size,
                # Some have none: FNet mixes wordpieces by a Fourier transform.
                heads=getattr(config, "num_attention_heads", None) or 0,
                length=length,
            )
        )


def _from_state(settings: dict[str, Any], data: bytes | None) -> TransformersWrapper:
    model = TransformersWrapper(**settings)
    return model if data is None else model.from_bytes(data)


def _forward(
    model: TransformersWrapper, X: WordPieces, is_train: bool
) -> tuple[Activations, Backprop]:
    if is_train:
        return _begin_update(model, X)
    model.set_training(0.0)
    collector = Collector(model, X)
    batches = list(model.sub_batches(X))
    outputs = run_streams(model.predict_batch, batches, model.n_streams)
    with torch.inference_mode():
        for batch, output in zip(batches, outputs, strict=True):
            collector.add(batch, output)
    return collector.activations(), _no_backprop


def _no_backprop(d_activations: Activations) -> None:
    raise RuntimeError("A prediction has no backward pass; use begin_update")


def _begin_update(model: TransformersWrapper, X: WordPieces) -> tuple[Activations, Backprop]:
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
        tasks.append(_Task(model, batch, keep=budget > 0))
    with sparse_embeddings(model.module):
        outputs = run_streams(_Task.forward, tasks, model.n_streams)
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
class _Task:
    """A sub-batch on its way forward and backward.

    Attributes:
        keep: Whether its graph is held from the one to the other.
    """

    model: TransformersWrapper
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
    model: TransformersWrapper, d_activations: Activations, tasks: Sequence[_Task]
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
    model: TransformersWrapper, batch: SubBatch, output: Any, d_activations: Activations
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


def _make_adamw(module: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: not on biases and norms."""
    trained = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for name, each in trained if _decays(name, each)]},
        {
            "params": [each for name, each in trained if not _decays(name, each)],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(
        groups,
        # One kernel a step: on a CPU, six times faster than a loop over the parameters.
        fused=True,
    )


def _decays(name: str, parameter: torch.nn.Parameter) -> bool:
    # The weights of every norm are vectors, but not all biases are: XLNet has some for each head.
    return parameter.ndim > 1 and not name.endswith("bias")


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
