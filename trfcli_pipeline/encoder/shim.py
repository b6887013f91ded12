"""The shim: how the torch encoder lives in a Thinc model."""

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import srsly
import torch
from thinc.api import Optimizer
from thinc.shims import Shim

from trfcli_pipeline.encoder.adamw import EncoderAdamW
from trfcli_pipeline.encoder.backends import Encoder, InferenceConfig, load_encoder, save_encoder
from trfcli_pipeline.encoder.capabilities import (
    EncoderCapabilities,
    call_options,
    returns_layers,
)
from trfcli_pipeline.encoder.captured_updates import CapturedUpdates
from trfcli_pipeline.encoder.devices import can_fork, chosen_device, release_unused
from trfcli_pipeline.encoder.gradients import GradientAccumulator, sparse_embeddings
from trfcli_pipeline.encoder.layer_depths import freeze_lowest
from trfcli_pipeline.encoder.lora import LoraAdapter, add_adapters, merged
from trfcli_pipeline.encoder.out_of_memory import MemoryGuard
from trfcli_pipeline.encoder.padding import SubBatch
from trfcli_pipeline.encoder.precision import (
    autocast,
    check_precision,
    eager_attention_if_faster,
    inference_products,
    limit_kernel_caches,
    resolve_precision,
    to_float32,
)
from trfcli_pipeline.encoder.threads import count_streams
from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.huggingface import pretrained

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel


class TransformersShim(Shim):
    """Holds the encoder's torch module and everything about it that Thinc doesn't know.

    It runs single sub-batches. `prediction.predict` and `updates.begin_update` use it to encode
    whole batches.

    Args:
        device: Where the encoder runs; see `devices.resolve_device`. A device that this machine
            doesn't have is replaced, with a warning.
        all_hidden_states: Whether to return the output of every layer.
        all_attentions: Whether to return the attentions.
        precision: Training precision; see `precision.resolve_precision`. Predictions and saved
            weights are always in float32.

    Attributes:
        capabilities: What the encoder accepts and returns.
        inference: The backend that runs it, and the precision of predictions.
        adapters: LoRA adapters, which are trained instead of the encoder's own weights.
        gradients: The gradients that were accumulated since the last step.
        captured_updates: Updates that were captured as CUDA graphs.
        dropout: The rate of the dropout layers.
        predicting, updating: Guards against running out of memory.

    Raises:
        PipelineError: `precision` is unknown.
        DeviceError: `device` isn't the name of a device.
    """

    def __init__(
        self,
        *,
        device: str = "auto",
        all_hidden_states: bool = False,
        all_attentions: bool = False,
        precision: str = "fp32",
    ) -> None:
        check_precision(precision)
        super().__init__(None)
        self.capabilities = EncoderCapabilities()
        self.inference = InferenceConfig()
        self.all_hidden_states = all_hidden_states
        self.all_attentions = all_attentions
        self.adapters: list[LoraAdapter] = []
        self.dropout = 0.0
        self._precision = precision
        self._update_pieces: int | None = None
        # Dropout layers with a rate above 0. Those with rate 0 stay off.
        self._dropouts: list[torch.nn.Dropout] = []
        self._embeddings: list[torch.nn.Embedding] = []
        # A pipeline is often loaded on other machines than the one that its config was made for.
        self._use_device(chosen_device(device), replace_missing=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "device": str(self.device),
            "all_hidden_states": self.all_hidden_states,
            "all_attentions": self.all_attentions,
            "precision": self._precision,
        }

    @property
    def is_loaded(self) -> bool:
        return self._model is not None

    @property
    def module(self) -> "PreTrainedModel":
        """The torch module, or the `OpenVINOEncoder` that replaces it.

        Raises:
            PipelineError: No weights are loaded yet.
        """
        if self._model is None:
            raise PipelineError(
                "The encoder's weights aren't loaded yet",
                hint="Call nlp.initialize(), or create the component with from_pretrained",
            )
        return self._model

    @property
    def encoder(self) -> Encoder:
        """The module, its capabilities and how it runs. Assign to replace the encoder."""
        return Encoder(self.module, self.capabilities, self.inference)

    @encoder.setter
    def encoder(self, encoder: Encoder) -> None:
        self._model, self.capabilities, self.inference = encoder
        if self.inference.backend != "torch":
            self._use_device("auto")
        self.adapters = []
        self._forget_updates()
        parts = list(encoder.module.modules())
        self._dropouts = [each for each in parts if isinstance(each, torch.nn.Dropout) and each.p]
        self._embeddings = [each for each in parts if isinstance(each, torch.nn.Embedding)]

    @property
    def precision(self) -> str:
        """The training precision. Raises a DeviceError if the device doesn't support it."""
        width, n_pieces = self.capabilities.width, self._update_pieces or 0
        return resolve_precision(self._precision, self.device, width=width, n_pieces=n_pieces)

    @property
    def adamw(self) -> EncoderAdamW:
        """The optimizer of the encoder's weights."""
        if self._optimizer is None:
            self._optimizer = EncoderAdamW(self.module, self.precision)
        return self._optimizer

    @property
    def n_streams(self) -> int:
        """Number of sub-batches to predict at once."""
        return count_streams(self.device)

    def encode(self, batch: SubBatch) -> Any:
        """Run the encoder on a sub-batch. Returns transformers' ModelOutput."""
        options = call_options(
            self.capabilities.arguments,
            output_hidden_states=self.all_hidden_states,
            output_attentions=self.all_attentions,
        )
        with inference_products(self.inference.precision, self.device):
            return self.module(**batch.inputs, **options)

    @contextmanager
    def returning_layers(self) -> Iterator[bool]:
        """Context in which the encoder returns the output of every layer, if it can.

        Yields:
            Whether it can. An encoder that was optimized without `all_hidden_states` can't.
        """
        before = self.all_hidden_states
        self.all_hidden_states = before or self._has_layers()
        try:
            yield self.all_hidden_states
        finally:
            self.all_hidden_states = before

    @contextmanager
    def training_context(self) -> Iterator[None]:
        """Context for the forward passes of an update, but not for its backward passes."""
        embeddings = self._embeddings if self.device.type == "cpu" else []
        with sparse_embeddings(embeddings), autocast(self.precision, self.device):
            yield

    def encode_for_training(self, batch: SubBatch) -> Any:
        """Run the encoder on a sub-batch in the training precision, inside `training_context`.

        The outputs are converted to float32.
        """
        with eager_attention_if_faster(self.module, self.precision, batch.mask.shape[1]):
            output = self.encode(batch)
        for kind, values in output.items():
            output[kind] = to_float32(values)
        return output

    def encode_for_capture(self, batch: SubBatch) -> Any:
        """Encode for training, with kernels that can be run again after the context has ended."""
        with autocast(self.precision, self.device, keeps_weights=False):
            return self.encode_for_training(batch)

    def set_dropout(self, rate: float) -> None:
        """Set the rate of the dropout layers; 0.0 switches the module to evaluation mode."""
        if self.module.training != (rate > 0):
            self.module.train(rate > 0)
        for part in self._dropouts:
            part.p = rate
        self.dropout = rate

    def check_trainable(self) -> None:
        """Raise a PipelineError if the encoder was optimized for inference."""
        if not self.inference.is_trainable:
            backend, precision = self.inference.backend, self.inference.precision
            raise PipelineError(
                f"The encoder can't be trained: it was optimized for inference "
                f"({precision}, {backend})",
                hint="Train the original pipeline, and optimize the result",
            )

    def prepare_training(
        self,
        *,
        freeze_layers: int = 0,
        lora_rank: int | None = None,
        precision: str | None = None,
    ) -> None:
        """Choose which weights are trained, and how, before the first update.

        Args:
            freeze_layers: Number of lowest layers to freeze, with the embeddings.
            lora_rank: Rank of LoRA adapters; None to train the encoder's own weights.
            precision: Training precision; None to keep the current setting.

        Raises:
            PipelineError: No weights are loaded yet, or the precision is unknown.
            DeviceError: The device doesn't support the precision.
            EncoderError: peft isn't installed, or the encoder lacks suitable layers.
        """
        if precision is not None:
            resolve_precision(precision, self.device)
            self._precision = precision
        self._update_pieces = None
        if lora_rank is not None:
            self.adapters = add_adapters(self.module, lora_rank)
        if freeze_layers:
            freeze_lowest(self.module, freeze_layers)
        self._forget_updates()

    def expect_updates(self, n_pieces: int) -> None:
        """Choose the precision "auto" for updates of so many wordpieces, unless it was chosen."""
        if self._update_pieces is None:
            self._update_pieces = n_pieces

    def finish_update(self, optimizer: Optimizer) -> None:
        """Take one AdamW step with the accumulated gradients, and clear them."""
        self.adamw.step(optimizer)

    @contextmanager
    def use_params(self, params: Mapping[Any, Any]) -> Iterator[None]:
        """Replace the weights by their averages inside the context.

        Args:
            params: Thinc's averages, which don't include the encoder's weights.
        """
        with self.adamw.averaged():
            yield

    def copy(self) -> Self:
        """An independent copy, with optimizer state, LoRA adapters and gradients."""
        copied = copy.deepcopy(self)
        if self.is_loaded:
            # torch copies parameters without their gradients.
            pairs = zip(self.module.parameters(), copied.module.parameters(), strict=True)
            for own, other in pairs:
                other.grad = None if own.grad is None else own.grad.clone()
        return copied

    def to(self, device: str) -> None:
        """Move the encoder to another device. The optimizer starts afresh."""
        self._use_device(device)
        if self._model is not None:
            torch.nn.Module.to(self._model, self.device)
            self._forget_updates()

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the encoder with the rest of a Thinc model, to "cpu" or "gpu"."""
        self.to("cpu" if device_type == "cpu" else f"cuda:{device_id}")

    def to_disk(self, path: Path | str) -> None:
        """Write an encoder in Hugging Face's format to a directory."""
        with merged(self.adapters):
            pretrained.save(partial(save_encoder, self.encoder), Path(path))

    def from_disk(self, path: Path | str) -> Self:
        """Load weights from a directory in Hugging Face's format, or that `to_disk` wrote."""
        # Must be set before anything runs, and loading may make trial runs.
        limit_kernel_caches(self.device)
        release_unused(self.device)
        self.encoder = load_encoder(
            Path(path),
            all_hidden_states=self.all_hidden_states,
            all_attentions=self.all_attentions,
            device=self.device,
        )
        return self

    def to_bytes(self) -> bytes:
        with merged(self.adapters):
            return srsly.msgpack_dumps(pretrained.to_files(partial(save_encoder, self.encoder)))

    def from_bytes(self, data: bytes) -> Self:
        with pretrained.from_files(srsly.msgpack_loads(data)) as path:
            return self.from_disk(path)

    @property
    def can_fork(self) -> bool:
        """Whether the encoder can be used in forks of this process.

        OpenVINO can't: its compiler may wait forever for threads that a fork doesn't have.
        """
        return can_fork() and self._survives_fork

    def check_process(self) -> None:
        """Raise a DeviceError if this process is a fork in which the encoder can't be used."""
        if os.getpid() != self._process and not self._survives_fork:
            name = self.device if self.inference.backend == "torch" else self.inference.backend
            raise DeviceError(
                f"{name}: can't be used in a forked process",
                hint='Call multiprocessing.set_start_method("spawn") first',
            )

    def _forget_updates(self) -> None:
        """Start afresh after the weights, or those that are trained, were replaced or moved."""
        self.gradients = GradientAccumulator(self.module)
        self.captured_updates = CapturedUpdates(self.device)
        self._optimizer = None

    def _has_layers(self) -> bool:
        if self.inference.backend == "torch":
            return returns_layers(self.module, self.capabilities)
        return bool(getattr(self.module, "layer_names", ()))

    @property
    def _survives_fork(self) -> bool:
        return self.device.type == "cpu" and self.inference.backend == "torch"

    def _use_device(self, name: str, *, replace_missing: bool = False) -> None:
        self.device = self.inference.resolve_device(name, replace_missing=replace_missing)
        self._process = os.getpid()
        self.predicting, self.updating = MemoryGuard(self.device), MemoryGuard(self.device)
