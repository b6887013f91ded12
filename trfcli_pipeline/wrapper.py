"""The Thinc model around the torch encoder, with an AdamW of its own."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
import torch
from numpy.typing import NDArray
from thinc.api import CupyOps, Model, Optimizer, torch2xp, xp2torch

from trfcli_pipeline import pretrained
from trfcli_pipeline.activations import Activations, Floats
from trfcli_pipeline.devices import free_bytes, graph_bytes_per_piece, resolve_device
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.subbatching import group_by_length
from trfcli_pipeline.traits import Traits, call_options, find_traits, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What an optimizer that says nothing about the encoder (any of Thinc's) is taken to mean. The
# head's rate would be far too high.
DEFAULT_TRF_LR = 5e-5
DEFAULT_TRF_WEIGHT_DECAY = 0.01
# The part of the free memory that graphs may take before sub-batches are computed twice.
_GRAPH_SHARE = 0.5

Backprop = Callable[[Activations], None]


# A fork has the state of torch's threads but not the threads, and would wait for them forever. It
# also shares the machine with other workers. See `torch.utils.data`, which does the same.
_is_forked = False


def _note_fork() -> None:
    global _is_forked  # noqa: PLW0603 - the process is what has been forked
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The encoder's input: the wordpieces of some segments (sentences), laid end to end.

    Attributes:
        ids: *Shape:* (wordpieces,)
        lengths: Wordpieces of each segment. *Shape:* (segments,)
        type_ids: Which part of a segment each wordpiece is in, where the model distinguishes
            parts. *Shape:* (wordpieces,)
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int32]
    type_ids: NDArray[np.int64] | None = None


@dataclass(slots=True)
class _SubBatch:
    """Some segments, padded to one length.

    `positions` says where in the batch each wordpiece came from; `mask` where in the padded
    rows it went.
    """

    segments: NDArray[np.intp]
    positions: torch.Tensor
    mask: torch.Tensor
    inputs: dict[str, Any]


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
        self._traits = find_traits(module)
        self._module = module
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
            # Its state is bound to the parameters on the old device.
            self._adamw = None

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

    def sub_batches(self, X: WordPieces) -> Iterator[_SubBatch]:
        """Pad the segments, sub-batch by sub-batch. Segments without wordpieces are left out."""
        starts = np.cumsum(X.lengths, dtype=np.int64) - X.lengths
        filled = np.flatnonzero(X.lengths)
        padding = pad_id(self.module)
        for segments in self._groups(filled, X.lengths[filled]):
            lengths = X.lengths[segments, None]
            columns = np.arange(int(lengths.max()))
            mask = columns < lengths
            # What is masked may point anywhere within bounds.
            source = np.where(mask, starts[segments, None] + columns, 0)
            inputs = {"input_ids": np.where(mask, X.ids[source], padding)}
            if X.type_ids is not None and self._traits.has_types:
                inputs["token_type_ids"] = np.where(mask, X.type_ids[source], 0)
            if not mask.all():
                inputs["attention_mask"] = mask.astype(np.int64)
            yield _SubBatch(
                segments=segments,
                positions=torch.from_numpy(source[mask]).to(self.device),
                mask=torch.from_numpy(mask).to(self.device),
                inputs={key: torch.from_numpy(x).to(self.device) for key, x in inputs.items()},
            )

    def encode(self, batch: _SubBatch) -> Any:
        """Run the encoder on a sub-batch. Returns the transformers ModelOutput."""
        options = call_options(
            self._traits.arguments,
            output_hidden_states=self.all_hidden_states,
            output_attentions=self.all_attentions,
        )
        return self.module(**batch.inputs, **options)

    def _groups(
        self, segments: NDArray[np.intp], lengths: NDArray[np.int32]
    ) -> Iterator[NDArray[np.intp]]:
        """The segments of each sub-batch; all of one length if padding would change the result."""
        words_per_batch = self.attrs["words_per_batch"]
        kinds = (
            [lengths > 0]
            if self._traits.ignores_padding
            else lengths == np.unique(lengths)[:, None]
        )
        for kind in kinds:
            same = np.flatnonzero(kind)
            for group in group_by_length(lengths[same], words_per_batch):
                yield segments[same[group]]

    def set_training(self, dropout: float) -> None:
        """Prepare for a forward or backward pass with this dropout rate; 0.0 is no training."""
        if _is_forked and torch.get_num_threads() > 1:
            torch.set_num_threads(1)
        self.module.train(dropout > 0)
        for part in self._dropouts:
            part.p = dropout

    def graph_budget(self) -> int:
        """Bytes that the graphs of an update's sub-batches may take together."""
        return int(_GRAPH_SHARE * free_bytes(self.device))

    def graph_bytes(self, batch: _SubBatch) -> int:
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
    collector = _Collector(model, X)
    with torch.inference_mode():
        for batch in model.sub_batches(X):
            collector.add(batch, model.encode(batch))
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
    collector = _Collector(model, X)
    batches, kept, random_states = list(model.sub_batches(X)), [], []
    for batch in batches:
        budget -= model.graph_bytes(batch)
        keep = budget > 0
        random_states.append(None if keep else _random_state(model.device))
        with torch.set_grad_enabled(keep):
            output = model.encode(batch)
        collector.add(batch, output)
        kept.append(output if keep else None)

    def backprop(d_activations: Activations) -> None:
        model.set_training(dropout)
        for batch, random_state in zip(batches, random_states, strict=True):
            # Taken off the list so that each graph is freed once it was used.
            output = kept.pop(0)
            if output is None:
                with _random_state_restored(random_state, model.device):
                    output = model.encode(batch)
            _backward(model, batch, output, d_activations)

    return collector.activations(), backprop


class _Collector:
    """Puts the rows of padded sub-batches back to where the wordpieces stood in the batch."""

    def __init__(self, model: TransformersWrapper, X: WordPieces) -> None:
        self.model = model
        self.lengths = X.lengths
        self.n_pieces = len(X.ids)
        # Arrays stay on the GPU only where Thinc has one to work on them with.
        self.on_device = isinstance(model.ops, CupyOps)
        width = model.get_dim("nO")
        self.hidden = self._empty(self.n_pieces, width)
        self.pooler: torch.Tensor | None = None
        if getattr(model.module, "pooler", None) is not None:
            self.pooler = self._empty(len(X.lengths), width)
        self.layers: list[torch.Tensor] | None = None
        if model.all_hidden_states and not self.n_pieces:
            # Nothing will be encoded that the shapes could be taken from.
            n_layers = model.module.config.num_hidden_layers + 1
            self.layers = [self._empty(0, width) for _ in range(n_layers)]
        self.attentions: list[Floats] | None = None
        if model.all_attentions:
            config = model.module.config
            shape = (config.num_hidden_layers, config.num_attention_heads, 0, 0)
            self.attentions = [self._to_xp(self._empty(*shape)) for _ in X.lengths]

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=self.model.device if self.on_device else "cpu")

    def add(self, batch: _SubBatch, output: Any) -> None:
        positions = batch.positions.to(self.hidden.device)
        self.hidden[positions] = self._rows(output.last_hidden_state, batch)
        if self.pooler is not None:
            segments = torch.from_numpy(batch.segments).to(self.pooler.device)
            self.pooler[segments] = output.pooler_output.detach().to(self.pooler.device)
        if self.model.all_hidden_states:
            if self.layers is None:
                self.layers = [
                    self._empty(self.n_pieces, layer.shape[2]) for layer in output.hidden_states
                ]
            for into, layer in zip(self.layers, output.hidden_states, strict=True):
                into[positions] = self._rows(layer, batch)
        if self.attentions is not None:
            attentions = torch.stack(output.attentions, dim=1).detach()
            for row, segment in enumerate(batch.segments.tolist()):
                n = int(self.lengths[segment])
                self.attentions[segment] = self._to_xp(attentions[row, :, :, :n, :n].contiguous())

    def _rows(self, padded: torch.Tensor, batch: _SubBatch) -> torch.Tensor:
        return padded.detach()[batch.mask].to(self.hidden.device)

    def _to_xp(self, tensor: torch.Tensor) -> Floats:
        return torch2xp(tensor) if self.on_device else tensor.cpu().numpy()

    def activations(self) -> Activations:
        return Activations(
            last_hidden_state=self._to_xp(self.hidden),
            pooler_output=None if self.pooler is None else self._to_xp(self.pooler),
            all_hidden_states=None
            if self.layers is None
            else [self._to_xp(layer) for layer in self.layers],
            all_attentions=self.attentions,
            lengths=self.lengths,
        )


def _backward(
    model: TransformersWrapper, batch: _SubBatch, output: Any, d_activations: Activations
) -> None:
    """Add the gradients of the weights, given those of a sub-batch's outputs."""
    pairs = [(output.last_hidden_state, _pad_rows(d_activations.last_hidden_state, batch))]
    if d_activations.pooler_output is not None:
        pairs.append(
            (output.pooler_output, _to_torch(d_activations.pooler_output[batch.segments], batch))
        )
    if d_activations.all_hidden_states is not None:
        for layer, gradient in zip(
            output.hidden_states, d_activations.all_hidden_states, strict=True
        ):
            pairs.append((layer, _pad_rows(gradient, batch)))
    if d_activations.all_attentions is not None:
        for index, attentions in enumerate(output.attentions):
            gradient = torch.zeros_like(attentions)
            for row, segment in enumerate(batch.segments.tolist()):
                part = _to_torch(d_activations.all_attentions[segment][index], batch)
                gradient[row, :, : part.shape[1], : part.shape[2]] = part
            pairs.append((attentions, gradient))
    tensors, gradients = zip(*pairs, strict=True)
    torch.autograd.backward(tensors, gradients)


def _to_torch(array: Floats, batch: _SubBatch) -> torch.Tensor:
    contiguous: Any = np.ascontiguousarray(array)
    return xp2torch(contiguous, device=batch.mask.device)


def _pad_rows(array: Floats, batch: _SubBatch) -> torch.Tensor:
    rows = xp2torch(array, device=batch.mask.device)
    padded = rows.new_zeros((*batch.mask.shape, rows.shape[1]))
    padded[batch.mask] = rows[batch.positions]
    return padded


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
