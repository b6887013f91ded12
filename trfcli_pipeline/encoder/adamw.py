"""The steps of an encoder: AdamW, rates by depth, averages, and all that these remember."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from thinc.api import Optimizer

from trfcli_pipeline.encoder.layer_depths import parameter_depths
from trfcli_pipeline.encoder.precision import make_scaler

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

# What an optimizer that says nothing about the encoder (any of Thinc's) is taken to mean. The
# head's rate would be far too high.
DEFAULT_TRF_LR = 5e-5
DEFAULT_TRF_WEIGHT_DECAY = 0.01
# As of Thinc's averages.
_LARGEST_AVERAGE_DECAY = 0.9999

Tensors = dict[str, torch.Tensor]


class EncoderAdamW:
    """Takes the steps of an encoder, with the rates that an optimizer for its heads carries.

    Args:
        module: The encoder. What of it is trained has to be settled before the first step.
        precision: What its gradients are computed in; see `precision.PRECISIONS`.
    """

    def __init__(self, module: "PreTrainedModel", precision: str = "fp32") -> None:
        self._module = module
        self._adamw: torch.optim.AdamW | None = None
        self._averages: Tensors = {}
        self._n_averaged = 0
        self.scaler = make_scaler(precision, module.device)
        # From a checkpoint: what AdamW remembers of each parameter, by its name.
        self._memories: dict[str, Tensors] = {}

    def step(self, optimizer: Optimizer) -> None:
        """Take one step with the gradients that have gathered, and clear them.

        Args:
            optimizer: Its `trf_lr`, `trf_layer_decay`, `trf_weight_decay`, `grad_clip` (global
                norm) and, as of whether to keep some, `averages` are used.
        """
        parameters = [each for each in self._module.parameters() if each.grad is not None]
        if not parameters:
            return
        if self._adamw is None:
            self._adamw = self._make_adamw(getattr(optimizer, "trf_layer_decay", 1.0))
        rate = getattr(optimizer, "trf_lr", DEFAULT_TRF_LR)
        weight_decay = getattr(optimizer, "trf_weight_decay", DEFAULT_TRF_WEIGHT_DECAY)
        for group in self._adamw.param_groups:
            group["lr"] = rate * group["rate_factor"]
            group["weight_decay"] = weight_decay * group["weight_decay_factor"]
        self.scaler.unscale_(self._adamw)
        if optimizer.grad_clip:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.grad_clip)
        self.scaler.step(self._adamw)
        self.scaler.update()
        self._adamw.zero_grad(set_to_none=True)
        if optimizer.averages is not None:
            self._average()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages in the place of the weights, if any are kept."""
        parameters = dict(self._trained())
        own = {name: parameters[name].data for name in self._averages}
        for name, average in self._averages.items():
            parameters[name].data = average
        try:
            yield
        finally:
            for name, weights in own.items():
                parameters[name].data = weights

    def state(self) -> Tensors:
        """The trained weights, and all that is remembered about them."""
        state: Tensors = {}
        for name, parameter in self._trained():
            state[f"encoder.{name}"] = parameter.detach()
            memories = self._memories.get(name, {})
            if self._adamw is not None:
                memories = self._adamw.state.get(parameter, {})
            state |= {f"adamw.{name}.{key}": memory for key, memory in memories.items()}
        state |= {f"average.{name}": average for name, average in self._averages.items()}
        numbers = {"n_averaged": self._n_averaged, **self.scaler.state_dict()}
        return state | {f"number.{key}": torch.tensor(each) for key, each in numbers.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """The inverse of `state`."""
        parts: dict[str, Tensors] = defaultdict(dict)
        for key, value in state.items():
            kind, _, name = key.partition(".")
            parts[kind][name] = value
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(parts["encoder"][name])
        self._adamw, self._memories = None, defaultdict(dict)
        for key, memory in parts["adamw"].items():
            name, _, kind = key.rpartition(".")
            self._memories[name][kind] = memory.to(self._module.device)
        self._averages = {
            name: average.to(self._module.device) for name, average in parts["average"].items()
        }
        numbers = {key: value.item() for key, value in parts["number"].items()}
        self._n_averaged = int(numbers.pop("n_averaged"))
        self.scaler.load_state_dict(numbers)

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad:
                yield name, parameter

    def _make_adamw(self, layer_decay: float) -> torch.optim.AdamW:
        # One kernel a step: on a CPU, six times faster than a loop over the parameters.
        adamw = torch.optim.AdamW(parameter_groups(self._module, layer_decay), fused=True)
        for name, parameter in self._trained():
            if name in self._memories:
                adamw.state[parameter] = self._memories.pop(name)
        return adamw

    def _average(self) -> None:
        """Let the averages follow the weights, on the schedule of Thinc's."""
        trained = {name: parameter.detach() for name, parameter in self._trained()}
        if not self._averages:
            self._averages = {name: weights.clone() for name, weights in trained.items()}
        self._n_averaged += 1
        decay = min((1 + self._n_averaged) / (10 + self._n_averaged), _LARGEST_AVERAGE_DECAY)
        torch._foreach_lerp_(
            [self._averages[name] for name in trained], list(trained.values()), 1 - decay
        )


def parameter_groups(module: "PreTrainedModel", layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """The trained parameters in groups for AdamW, by depth and by whether they decay.

    Each says by which factors to multiply the rate and the weight decay. Only matrices decay.

    Args:
        layer_decay: The factor of a layer's rate, for each layer that is above it.
    """
    depths = parameter_depths(module) if layer_decay != 1 else {}
    uppermost = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate_factor = layer_decay ** (uppermost - depths.get(parameter, uppermost))
            groups[rate_factor, _decays(name, parameter)].append(parameter)
    return [
        {"params": each, "rate_factor": rate_factor, "weight_decay_factor": float(decays)}
        for (rate_factor, decays), each in groups.items()
    ]


def _decays(name: str, parameter: torch.nn.Parameter) -> bool:
    # The weights of every norm are vectors, but not all biases are: XLNet has some for each head.
    return parameter.ndim > 1 and not name.endswith("bias")
