"""LoRA: train low-rank adapters instead of the encoder's own weights.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". This is the only module that
imports peft, an optional dependency, and it does so only inside functions.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import EncoderError, one_line

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

_ADAPTER = "default"
# lora_alpha / rank: the factor of the adapters' output, the same for every rank.
_SCALE = 2


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA layer in an encoder.

    Attributes:
        parent: The module that it is a child of.
        name: Its name in the parent.
        layer: The LoRA layer, which contains the linear layer that it replaces.
    """

    parent: torch.nn.Module
    name: str
    layer: Any

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Restore the linear layer inside the context, with the adapter added to its weights."""
        linear = self.layer.get_base_layer()
        own = linear.weight.data
        with torch.no_grad():
            linear.weight.data = own + self.layer.get_delta_weight(_ADAPTER)
        setattr(self.parent, self.name, linear)
        try:
            yield
        finally:
            setattr(self.parent, self.name, self.layer)
            # Subtracting the adapter again would leave rounding errors.
            linear.weight.data = own


def add_adapters(module: "PreTrainedModel", rank: int) -> list[LoraAdapter]:
    """Add an adapter to each linear layer of the encoder, and freeze everything else.

    The output is the same at first. The adapters' weights are drawn from torch's random numbers.

    Raises:
        EncoderError: peft isn't installed, or the encoder has no linear layers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise EncoderError(
            "--lora needs peft, which isn't installed", hint='pip install "trfcli[lora]"'
        ) from error
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
    """Merge all adapters into the weights inside the context, for predicting and saving."""
    with ExitStack() as stack:
        for adapter in adapters:
            stack.enter_context(adapter.merged())
        yield
