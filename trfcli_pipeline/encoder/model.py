"""The Thinc model around the torch encoder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import srsly
import torch
from numpy.typing import NDArray
from thinc.api import Model, Optimizer

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.adamw import EncoderAdamW
from trfcli_pipeline.encoder.backends import Encoder, Inference, load_encoder, save_encoder
from trfcli_pipeline.encoder.capabilities import EncoderCapabilities, call_options, pad_id
from trfcli_pipeline.encoder.collector import Collector
from trfcli_pipeline.encoder.gradients import Gradients, sparse_embeddings
from trfcli_pipeline.encoder.layer_depths import freeze_lowest
from trfcli_pipeline.encoder.lora import LoraAdapter, add_adapters, merged
from trfcli_pipeline.encoder.memory_budget import sub_batch_size
from trfcli_pipeline.encoder.out_of_memory import Fitting
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, divide, find_originals, pad
from trfcli_pipeline.encoder.precision import (
    autocast,
    bound_kernels,
    check_precision,
    quick_attention,
    resolve_precision,
    to_float32,
)
from trfcli_pipeline.encoder.sub_batches import check_words_per_batch
from trfcli_pipeline.encoder.threads import count_streams, run_streams
from trfcli_pipeline.encoder.updates import Backprop, begin_update
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.huggingface import pretrained

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel


class TransformersWrapper(Model[WordPieces, Activations]):
    """Encodes wordpieces, in sub-batches of segments of like length.

    `predict` and `begin_update` take `WordPieces` and give `Activations`; the callback of
    `begin_update` takes the gradients of these and adds those of the weights to the torch
    parameters. `finish_update` takes one step of AdamW.

    The dropout rate (`thinc.api.set_dropout_rate`) replaces that of the encoder's own dropout
    layers; at 0.0, as before any is set, an update runs the encoder as a prediction does.

    Args:
        words_per_batch: Wordpieces of a sub-batch, padding included; 0 for one sub-batch; "auto"
            for as many as should fit in memory and gain something. Whichever it is, sub-batches
            that turn out not to fit are halved, and so are later ones of their size.
        device: Where the encoder runs; see `devices.resolve_device`.
        all_hidden_states: Whether to return the output of every layer.
        all_attentions: Whether to return the attentions.
        precision: What updates are computed in; see `precision.resolve_precision`. Predictions stay
            in float32, and what is saved an ordinary encoder.

    Raises:
        PipelineError: `words_per_batch` or `precision` can't be what it is. In use: memory doesn't
            suffice for a single segment.
    """

    def __init__(
        self,
        *,
        words_per_batch: int | str = 2000,
        device: str = "auto",
        all_hidden_states: bool = False,
        all_attentions: bool = False,
        precision: str = "fp32",
    ) -> None:
        check_words_per_batch(words_per_batch)
        check_precision(precision)
        super().__init__(
            "transformers",
            _forward,
            dims={"nO": None},
            attrs={"words_per_batch": words_per_batch, "dropout_rate": 0.0},
        )
        self.inference = Inference()
        self._use_device(device)
        self.all_hidden_states = all_hidden_states
        self.all_attentions = all_attentions
        self._module: PreTrainedModel | None = None
        self._adamw: EncoderAdamW | None = None
        self._precision = precision
        self.adapters: list[LoraAdapter] = []
        # The trained rates of the dropout layers, to tell those that were off for good.
        self._dropouts: list[torch.nn.Dropout] = []
        self._traits = EncoderCapabilities()

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

    @property
    def precision(self) -> str:
        """What updates are computed in. Raises DeviceError if the device doesn't have it."""
        return resolve_precision(self._precision, self.device)

    @property
    def adamw(self) -> EncoderAdamW:
        """What takes the encoder's steps. Raises PipelineError if no weights were loaded yet."""
        if self._adamw is None:
            self._adamw = EncoderAdamW(self.module, self.precision)
        return self._adamw

    def load(self, path: Path) -> None:
        """Take the weights from a directory in Hugging Face's format, or of `to_disk`."""
        # Loading ends with a trial run.
        bound_kernels(self.device)
        self.encoder = load_encoder(
            path,
            all_hidden_states=self.all_hidden_states,
            all_attentions=self.all_attentions,
            device=self.device,
        )

    @property
    def encoder(self) -> Encoder:
        """What is run: torch module or what stands in for it, and how. It can be replaced."""
        return Encoder(self.module, self._traits, self.inference)

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        module, self._traits, self.inference = encoder
        self._module = module
        if self.inference.backend != "torch":
            self._use_device("auto")
        self.gradients = Gradients(module)
        self._adamw = None
        self.adapters = []
        self._dropouts = [
            part for part in module.modules() if isinstance(part, torch.nn.Dropout) and part.p
        ]
        self.set_dim("nO", self._traits.width, force=True)

    def to(self, device: str) -> None:
        """Move the encoder to another device."""
        self._use_device(device)
        if self._module is not None:
            torch.nn.Module.to(self._module, self.device)
            # What is bound to the parameters on the old device.
            self._adamw = None
            self.gradients = Gradients(self._module)

    def _use_device(self, name: str) -> None:
        self.device = self.inference.device(name)
        self.predicting, self.updating = Fitting(self.device), Fitting(self.device)

    def check_trainable(self) -> None:
        """Make sure that the encoder can be trained.

        Raises:
            PipelineError: It was optimized for predicting.
        """
        if not self.inference.is_trainable:
            backend, precision = self.inference.backend, self.inference.precision
            raise PipelineError(
                f"The encoder can't be trained: it was optimized for predicting "
                f"({precision}, {backend})",
                hint="Train the pipeline that it was made of, and optimize the result",
            )

    def prepare_training(
        self,
        *,
        freeze_layers: int = 0,
        lora_rank: int | None = None,
        precision: str | None = None,
    ) -> None:
        """Settle what of the encoder is trained, and how, before the first update.

        What is saved is an ordinary encoder all the same.

        Args:
            freeze_layers: How many of the lowest layers stay as they are, with the embeddings.
            lora_rank: Rank of adapters that are trained in place of the encoder's own weights,
                which need peft; None for none.
            precision: In place of that of the model.

        Raises:
            PipelineError: No weights were loaded yet, or there is no such precision.
            DeviceError: The device doesn't have that precision.
            EncoderError: peft isn't installed, or the encoder lacks the layers.
        """
        if precision is not None:
            resolve_precision(precision, self.device)
            self._precision = precision
        if lora_rank is not None:
            self.adapters = add_adapters(self.module, lora_rank)
        if freeze_layers:
            freeze_lowest(self.module, freeze_layers)
        self._adamw = None

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take one AdamW step with the gradients that have gathered, and clear them."""
        self.adamw.step(optimizer)

    @contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Put the averages that AdamW keeps in the place of the weights.

        Thinc's, which are given, know nothing of these.
        """
        with self.adamw.averaged():
            yield

    def __reduce__(self) -> tuple[Any, ...]:
        # A module that has returned hidden states carries hooks of transformers that don't pickle.
        settings = {
            "words_per_batch": self.attrs["words_per_batch"],
            "device": str(self.device),
            "all_hidden_states": self.all_hidden_states,
            "all_attentions": self.all_attentions,
            "precision": self._precision,
        }
        return _from_state, (settings, self.to_bytes() if self.is_loaded else None)

    def to_disk(self, path: Path | str) -> None:
        with merged(self.adapters):
            pretrained.save(partial(save_encoder, self.encoder), Path(path))

    def from_disk(self, path: Path | str) -> "TransformersWrapper":
        self.load(Path(path))
        return self

    def to_bytes(self) -> bytes:
        with merged(self.adapters):
            return srsly.msgpack_dumps(pretrained.to_files(partial(save_encoder, self.encoder)))

    def from_bytes(self, bytes_data: bytes) -> "TransformersWrapper":
        with pretrained.from_files(srsly.msgpack_loads(bytes_data)) as path:
            self.load(path)
        return self

    def sub_batches(
        self, X: WordPieces, *, is_train: bool = False, only: NDArray[np.bool_] | None = None
    ) -> Iterator[SubBatch]:
        """Pad the segments, sub-batch by sub-batch. Segments without wordpieces are left out.

        Args:
            is_train: Whether they are for an update, whose graphs have to fit in memory.
            only: The segments to take, if not all.
        """
        if not self._traits.has_types:
            X = replace(X, type_ids=None)
        padding = pad_id(self.module)
        lengths = X.lengths if only is None else np.where(only, X.lengths, 0)
        size = sub_batch_size(self, lengths, is_train=is_train)
        groups = divide(lengths, size, ignores_padding=self._traits.ignores_padding)
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

    @contextmanager
    def forward_passes(self) -> Iterator[None]:
        """What the forward passes of an update have to run in; their backward passes don't."""
        with sparse_embeddings(self.module), autocast(self.precision, self.device):
            yield

    def encode_for_training(self, batch: SubBatch) -> Any:
        """Run the encoder on a sub-batch in the precision of the training.

        To be called within `forward_passes`. The outputs are in float32 all the same.
        """
        with quick_attention(self.module, self.precision, batch.mask.shape[1]):
            output = self.encode(batch)
        for kind, values in output.items():
            output[kind] = to_float32(values)
        return output

    @property
    def n_streams(self) -> int:
        """How many sub-batches of a prediction are encoded at once."""
        return count_streams(self.device)

    def set_training(self, dropout: float) -> None:
        """Prepare for a forward or backward pass with this dropout rate; 0.0 is no training."""
        self.module.train(dropout > 0)
        for part in self._dropouts:
            part.p = dropout


def _from_state(settings: dict[str, Any], data: bytes | None) -> TransformersWrapper:
    model = TransformersWrapper(**settings)
    return model if data is None else model.from_bytes(data)


def _forward(
    model: TransformersWrapper, X: WordPieces, is_train: bool
) -> tuple[Activations, Backprop]:
    return begin_update(model, X) if is_train else (_predict(model, X), _no_backprop)


def _predict(model: TransformersWrapper, X: WordPieces) -> Activations:
    """Encode for the outputs only, and equal segments once."""
    model.set_training(0.0)
    collector = Collector(model, X)
    originals = find_originals(X)
    is_new = originals == np.arange(len(originals))
    batches = list(model.sub_batches(X, only=is_new))

    def encode(batch: SubBatch) -> None:
        with torch.inference_mode():
            collector.add(batch, model.encode(batch))

    def encode_fitting(batch: SubBatch) -> None:
        list(model.predicting.run(encode, batch))

    with merged(model.adapters):
        list(run_streams(encode_fitting, batches, model.n_streams))
    if not is_new.all():
        with torch.inference_mode():
            collector.repeat(originals)
    return collector.activations()


def _no_backprop(d_activations: Activations) -> None:
    raise RuntimeError("A prediction has no backward pass; use begin_update")
