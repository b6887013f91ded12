"""LoRA: train low-rank adapters instead of the encoder's own weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". This is the only module that
imports peft, an optional dependency, and it does so only inside functions.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from trfcli_pipeline.errors import EncoderError, needs_extra, one_line

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

_ADAPTER = "default"
# lora_alpha / rank: the factor of the adapters' output, the same for every rank.
_SCALE = 2


class LoraAdapter(NamedTuple):
    """A LoRA layer in an encoder.

    Attributes:
        parent: The module that it is a child of.
        name: Its name in the parent.
        layer: The LoRA layer, which contains the linear layer that it replaces.
    """

    parent: torch.nn.Module
    name: str
    layer: Any


def add_adapters(module: "PreTrainedModel", rank: int) -> list[LoraAdapter]:
    """Add an adapter to each linear layer of the encoder, and freeze everything else.

    The output is the same at first. The adapters' weights are drawn from torch's random numbers.

    Raises:
        EncoderError: peft isn't installed, or the encoder has no linear layers.
    """
    with needs_extra("--lora needs peft", "lora", EncoderError):
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    config = LoraConfig(r=rank, lora_alpha=_SCALE * rank, target_modules="all-linear")
    with warnings.catch_warnings():
        # peft reports that it detected transposed linear layers (GPT-2).
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        try:
            inject_adapter_in_model(config, module, adapter_name=_ADAPTER)
        except ValueError as error:
            kind = module.config.model_type
            raise EncoderError(f"{kind}: can't be trained with LoRA: {one_line(error)}") from error
    return [
        LoraAdapter(parent, name, layer)
        for parent in module.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, LoraLayer)
    ]


@contextmanager
def merged(adapters: Sequence[LoraAdapter]) -> Iterator[None]:
    """Restore the linear layers inside the context, with the adapters added to their weights."""
    linears = [each.layer.get_base_layer() for each in adapters]
    weights = [linear.weight.data for linear in linears]
    with torch.no_grad():
        for adapter, linear in zip(adapters, linears, strict=True):
            linear.weight.data = linear.weight.data + adapter.layer.get_delta_weight(_ADAPTER)
            setattr(adapter.parent, adapter.name, linear)
    try:
        yield
    finally:
        for adapter, linear, own in zip(adapters, linears, weights, strict=True):
            setattr(adapter.parent, adapter.name, adapter.layer)
            # Subtracting the adapter again would leave rounding errors.
            linear.weight.data = own
