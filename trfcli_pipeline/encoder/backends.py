"""Load and save encoders for the backend that runs them: torch or OpenVINO."""

import warnings
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import srsly
import torch

from trfcli_pipeline.encoder.capabilities import (
    EncoderCapabilities,
    find_capabilities,
    forward_arguments,
    require_outputs,
    run_short_input,
)
from trfcli_pipeline.encoder.devices import DeviceWarning, resolve_device
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder
from trfcli_pipeline.encoder.precision import InferencePrecision, inference_dtype
from trfcli_pipeline.errors import DeviceError, EncoderError, PipelineError, one_line
from trfcli_pipeline.huggingface import pretrained

Backend = Literal["torch", "openvino"]
PRECISIONS: dict[Backend, set[InferencePrecision]] = {
    "torch": {"fp32", "tf32", "bf16", "fp16"},
    "openvino": {"fp32", "bf16", "int8"},
}

# What this package knows about an encoder, next to the weights.
_FILE = "inference.json"
_FIELDS = {field.name for field in fields(EncoderCapabilities)}


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """How an encoder predicts.

    Attributes:
        backend: What runs it.
        precision: Number format of weights and activations.
        device: The kind of device that it was optimized for, if any.
    """

    backend: Backend = "torch"
    precision: InferencePrecision = "fp32"
    device: str | None = None

    def __str__(self) -> str:
        return f"{self.precision} with {self.backend}"

    @property
    def is_trainable(self) -> bool:
        return (self.backend, self.precision) == ("torch", "fp32")

    def resolve_device(self, name: str, *, replace_missing: bool = False) -> torch.device:
        """Find the device to run on; see `devices.resolve_device`.

        Raises:
            DeviceError: There is no such device, or the backend doesn't support it.
        """
        if self.backend == "torch":
            return resolve_device(name, replace_missing=replace_missing)
        if name not in ("auto", "cpu"):
            raise DeviceError(
                f"{name}: this pipeline's encoder runs with OpenVINO, only on the CPU",
                hint="Use auto or cpu",
            )
        return torch.device("cpu")


class Encoder(NamedTuple):
    """An encoder that is ready to run.

    Attributes:
        module: A PreTrainedModel or an OpenVINOEncoder.
    """

    module: Any
    capabilities: EncoderCapabilities
    inference: InferenceConfig


def load_encoder(
    path: Path, *, all_hidden_states: bool, all_attentions: bool, device: torch.device
) -> Encoder:
    """Load a pretrained encoder, or one that `save_encoder` wrote.

    Trial runs are made only if `save_encoder` stored no capabilities, or fewer than requested.

    Raises:
        EncoderError: The directory has no encoder that can be loaded.
        PipelineError: The encoder was optimized without a requested output, or for a backend that
            isn't installed.
    """
    inference, parameters, capabilities = _read_saved(path / _FILE)
    if inference.backend == "openvino":
        encoder = OpenVINOEncoder.from_pretrained(path, inference.precision, parameters)
        for setting, is_missing in (
            ("all_attentions", all_attentions),
            ("all_hidden_states", all_hidden_states and not encoder.layer_names),
        ):
            if is_missing:
                raise PipelineError(
                    f"The encoder was optimized without {setting}",
                    hint="Turn it off in the config of trf_tok2vec",
                )
        return Encoder(encoder, capabilities or EncoderCapabilities(), inference)
    if inference.device not in (None, device.type):
        warnings.warn(
            f"The encoder was optimized for {inference.device} ({inference.precision}); on "
            f"{device.type} it may be slower than the original",
            DeviceWarning,
            stacklevel=2,
        )
    module = pretrained.load_model(
        path,
        all_attentions=all_attentions,
        device=device,
        dtype=inference_dtype(inference.precision, device),
    )
    # Another number of parameters means that the weights were replaced by those of another model.
    if capabilities is None or parameters != module.num_parameters():
        capabilities = find_capabilities(module)
    else:
        # They depend on the installed version of transformers.
        capabilities = replace(capabilities, arguments=forward_arguments(module))
        if capabilities.changes_itself:
            run_short_input(module)
    capabilities = require_outputs(
        module, capabilities, all_hidden_states=all_hidden_states, all_attentions=all_attentions
    )
    return Encoder(module, capabilities, inference)


def saved_inference(path: Path) -> InferenceConfig:
    """Read how an encoder that `save_encoder` wrote predicts.

    Raises:
        EncoderError: The file can't be read.
    """
    return _read_saved(path / _FILE)[0]


def save_encoder(encoder: Encoder, path: Path) -> None:
    """Write an encoder in transformers' format, or in the format of its backend."""
    encoder.module.save_pretrained(path)
    capabilities = asdict(encoder.capabilities)
    capabilities["arguments"] = sorted(capabilities["arguments"])
    inference = {name: each for name, each in asdict(encoder.inference).items() if each}
    saved = {**inference, "parameters": encoder.module.num_parameters()}
    srsly.write_json(path / _FILE, {**saved, "traits": capabilities})


def cast_weights(encoder: Encoder, inference: InferenceConfig) -> Encoder:
    """Convert an encoder's weights to another precision, in place, to be run by torch."""
    dtype = inference_dtype(inference.precision, encoder.module.device)
    return Encoder(encoder.module.to(dtype), encoder.capabilities, inference)


def _read_saved(path: Path) -> tuple[InferenceConfig, int, EncoderCapabilities | None]:
    """Read how to run the encoder, its number of parameters and its capabilities.

    Directories from elsewhere don't have the file.
    """
    if not path.exists():
        return InferenceConfig(), 0, None
    try:
        saved = srsly.read_json(path)
        traits = {name: saved["traits"][name] for name in _FIELDS & saved["traits"].keys()}
        traits["arguments"] = frozenset(traits["arguments"])
        capabilities = EncoderCapabilities(**traits)
        inference = InferenceConfig(saved["backend"], saved["precision"], saved.get("device"))
        if inference.precision not in PRECISIONS[inference.backend]:
            raise ValueError(f"unknown precision {inference.precision!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{path}: can't be read: {one_line(error)}",
            hint="Copy the pipeline again from where it was made",
        ) from error
    return inference, saved["parameters"], capabilities
