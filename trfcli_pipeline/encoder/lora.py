"""LoRA: small matrices beside an encoder's own, which alone are trained.

The only module that imports peft, an optional dependency, and only inside functions.
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

_NAME = "default"
# What the adapters give counts this many times, whatever their rank.
_SCALE = 2


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """An adapter, and where in the encoder it is.

    Attributes:
        parent, name: The module that it belongs to, and its name there.
        layer: It with the linear layer that it stands for.
    """

    parent: torch.nn.Module
    name: str
    layer: Any

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Put the linear layer back to where it was, with the adapter's part in its weights."""
        linear = self.layer.get_base_layer()
        own = linear.weight.data
        with torch.no_grad():
            linear.weight.data = own + self.layer.get_delta_weight(_NAME)
        setattr(self.parent, self.name, linear)
        try:
            yield
        finally:
            setattr(self.parent, self.name, self.layer)
            # Not the sum less the adapter's part, which rounding would make other weights.
            linear.weight.data = own


def add_adapters(module: "PreTrainedModel", rank: int) -> list[LoraAdapter]:
    """Put an adapter on each linear layer of the encoder, and train nothing else of it.

    They change nothing at first. Their weights are drawn from torch's random numbers.

    Raises:
        EncoderError: peft isn't installed, or finds nothing to adapt.
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
        # Where linear layers are transposed (GPT-2), peft says that it has noticed.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to False")
        try:
            inject_adapter_in_model(config, module, adapter_name=_NAME)
        except ValueError as error:
            kind = module.config.model_type
            raise EncoderError(f"{kind}: can't be trained by LoRA: {one_line(error)}") from error
    return [
        LoraAdapter(parent, name, layer)
        for parent in module.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, LoraLayer)
    ]


@contextmanager
def merged(adapters: Sequence[LoraAdapter]) -> Iterator[None]:
    """Make the encoder an ordinary one for a while, with what the adapters have learned."""
    with ExitStack() as stack:
        for adapter in adapters:
            stack.enter_context(adapter.merged())
        yield
