"""AdamW for the encoder: layer-wise learning rates, gradient scaling and averaged weights."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from thinc.api import Optimizer

from trfcli_pipeline.encoder.layer_depths import parameter_depths
from trfcli_pipeline.encoder.precision import make_grad_scaler

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

# Used with optimizers that have no settings for the encoder, such as Thinc's own. Their learning
# rate is meant for the heads and would be far too high for the encoder.
DEFAULT_TRF_LR = 5e-5
DEFAULT_TRF_WEIGHT_DECAY = 0.01
# The maximum that Thinc's averages have, too.
_MAX_AVERAGE_DECAY = 0.9999

Tensors = dict[str, torch.Tensor]


class EncoderAdamW:
    """Updates the encoder's weights with the settings of the pipeline's optimizer.

    Args:
        module: The encoder. Freeze parameters before the first step, not later.
        precision: The training precision; see `precision.DTYPES`.
    """

    def __init__(self, module: "PreTrainedModel", precision: str = "fp32") -> None:
        self._module = module
        self._adamw: torch.optim.AdamW | None = None
        self._averages: Tensors = {}
        self._n_averaged = 0
        self.scaler = make_grad_scaler(precision, module.device)
        # AdamW's state of each parameter by name, from loading a checkpoint until the next step.
        self._loaded_state: dict[str, Tensors] = {}

    def step(self, optimizer: Optimizer) -> None:
        """Take one step with the accumulated gradients, and clear them.

        Args:
            optimizer: Supplies `trf_lr`, `trf_layer_decay`, `trf_weight_decay` and `grad_clip`
                (global norm). Averages are kept if its `averages` is not None.
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
            self._update_averages()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replace the weights by their averages inside the context, if averages are kept."""
        parameters = dict(self._trained())
        own = {name: parameters[name].data for name in self._averages}
        for name, average in self._averages.items():
            parameters[name].data = average
        try:
            yield
        finally:
            for name, weights in own.items():
                parameters[name].data = weights

    def state_dict(self) -> Tensors:
        """The trained weights, and the state of AdamW, the averages and the gradient scaler."""
        state: Tensors = {}
        for name, parameter in self._trained():
            state[f"encoder.{name}"] = parameter.detach()
            own = self._loaded_state.get(name, {})
            if self._adamw is not None:
                own = self._adamw.state.get(parameter, {})
            state |= {f"adamw.{name}.{key}": tensor for key, tensor in own.items()}
        state |= {f"average.{name}": average for name, average in self._averages.items()}
        numbers = {"n_averaged": self._n_averaged, **self.scaler.state_dict()}
        return state | {f"number.{key}": torch.tensor(each) for key, each in numbers.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore what `state_dict` returned."""
        parts: dict[str, Tensors] = defaultdict(dict)
        for key, value in state.items():
            kind, _, name = key.partition(".")
            parts[kind][name] = value
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(parts["encoder"][name])
        self._adamw, self._loaded_state = None, defaultdict(dict)
        for key, tensor in parts["adamw"].items():
            name, _, kind = key.rpartition(".")
            self._loaded_state[name][kind] = tensor.to(self._module.device)
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
        # A fused step is six times faster on a CPU than a loop over the parameters.
        adamw = torch.optim.AdamW(parameter_groups(self._module, layer_decay), fused=True)
        for name, parameter in self._trained():
            if name in self._loaded_state:
                adamw.state[parameter] = self._loaded_state.pop(name)
        return adamw

    def _update_averages(self) -> None:
        """Update the moving averages on Thinc's schedule."""
        trained = {name: parameter.detach() for name, parameter in self._trained()}
        if not self._averages:
            self._averages = {name: weights.clone() for name, weights in trained.items()}
        self._n_averaged += 1
        decay = min((1 + self._n_averaged) / (10 + self._n_averaged), _MAX_AVERAGE_DECAY)
        torch._foreach_lerp_(
            [self._averages[name] for name in trained], list(trained.values()), 1 - decay
        )


def parameter_groups(module: "PreTrainedModel", layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Group the trained parameters by layer depth and by whether weight decay applies.

    Args:
        layer_decay: Learning-rate factor from each layer to the one below it.

    Returns:
        Groups for torch's AdamW. Each has a `rate_factor` for the learning rate and a
        `weight_decay_factor` of 1 for weight matrices and 0 for biases and norms.
    """
    depths = parameter_depths(module) if layer_decay != 1 else {}
    top = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rate_factor = layer_decay ** (top - depths.get(parameter, top))
            groups[rate_factor, _decays(name, parameter)].append(parameter)
    return [
        {"params": each, "rate_factor": rate_factor, "weight_decay_factor": float(decays)}
        for (rate_factor, decays), each in groups.items()
    ]


def _decays(name: str, parameter: torch.nn.Parameter) -> bool:
    # The weights of norms are vectors, but some biases aren't: XLNet's are one row per head.
    return parameter.ndim > 1 and not name.endswith("bias")
