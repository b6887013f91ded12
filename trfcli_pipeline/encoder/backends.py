"""How an encoder is run: by torch in float32, or as `optimizing` has it, which its files say."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import srsly
import torch

from trfcli_pipeline.encoder.capabilities import EncoderCapabilities, find_capabilities
from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder
from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.huggingface import pretrained

Backend = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "int8"]

# Beside the weights of an encoder that was optimized.
_FILE = "inference.json"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Inference:
    """What runs an encoder, and what it computes in."""

    backend: Backend = "torch"
    precision: Precision = "fp32"

    @property
    def is_trainable(self) -> bool:
        return self == Inference()

    def device(self, name: str) -> torch.device:
        """The device of a name, such as "auto"; see `devices.resolve_device`.

        Raises:
            DeviceError: There is none of that name, or the backend doesn't run there.
        """
        if self.backend == "torch":
            return resolve_device(name)
        if name not in ("auto", "cpu"):
            raise DeviceError(
                f"{name}: OpenVINO runs this pipeline's encoder, on the CPU only",
                hint="Use auto or cpu",
            )
        return torch.device("cpu")


class Encoder(NamedTuple):
    """An encoder, ready to run.

    Attributes:
        module: A PreTrainedModel or an OpenVINOEncoder.
    """

    module: Any
    traits: EncoderCapabilities
    inference: Inference


def load_encoder(
    path: Path, *, all_hidden_states: bool, all_attentions: bool, device: torch.device
) -> Encoder:
    """Load a pretrained encoder, or one that was saved with `save_encoder`.

    Raises:
        EncoderError: The directory has no encoder that can be loaded.
        PipelineError: The encoder was optimized without what is asked for, or for a backend that
            isn't installed.
    """
    if not (path / _FILE).exists():
        module = pretrained.load_encoder(path, all_attentions=all_attentions, device=device)
        traits = find_capabilities(
            module, all_hidden_states=all_hidden_states, all_attentions=all_attentions
        )
        return Encoder(module, traits, Inference())
    facts = srsly.read_json(path / _FILE)
    inference = Inference(facts["backend"], facts["precision"])
    arguments = frozenset(facts["traits"].pop("arguments"))
    traits = EncoderCapabilities(arguments=arguments, **facts["traits"])
    if inference.backend == "torch":
        module = pretrained.load_encoder(
            path,
            all_attentions=all_attentions,
            device=device,
            dtype=_DTYPES[inference.precision],
        )
        return Encoder(module, traits, inference)
    encoder = OpenVINOEncoder.from_pretrained(path, inference.precision, facts["parameters"])
    for setting, lacks in (
        ("all_attentions", all_attentions),
        ("all_hidden_states", all_hidden_states and not encoder.layer_names),
    ):
        if lacks:
            raise PipelineError(
                f"The encoder was optimized without {setting}",
                hint="Turn it off in the config of trf_tok2vec",
            )
    return Encoder(encoder, traits, inference)


def save_encoder(encoder: Encoder, path: Path) -> None:
    """Write an encoder in the format of transformers, or in that of the backend that runs it."""
    encoder.module.save_pretrained(path)
    if encoder.inference.is_trainable:
        # What is written here may replace an encoder that was optimized.
        (path / _FILE).unlink(missing_ok=True)
        return
    traits = asdict(encoder.traits)
    traits["arguments"] = sorted(traits["arguments"])
    facts = {**asdict(encoder.inference), "parameters": encoder.module.num_parameters()}
    srsly.write_json(path / _FILE, {**facts, "traits": traits})


def in_torch(encoder: Encoder, precision: Precision) -> Encoder:
    """The encoder in another precision, still run by torch. Its weights are converted in place."""
    module = encoder.module.to(_DTYPES[precision])
    return Encoder(module, encoder.traits, Inference("torch", precision))
