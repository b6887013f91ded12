"""The depth of each parameter in an encoder, for freezing layers and layer-wise learning rates.

There are no lists of model names: the layers are found from the encoder's structure, and what
lies below them from what their output depends on.
"""

from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.encoder.capabilities import any_ids, call_options, forward_arguments
from trfcli_pipeline.errors import ArgumentError, EncoderError

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel


def find_layers(module: "PreTrainedModel") -> torch.nn.ModuleList:
    """The encoder's layers, from the lowest to the highest.

    Raises:
        EncoderError: There is no list of as many layers as the config states.
    """
    number = module.config.num_hidden_layers
    candidates = [
        part
        for part in module.modules()
        if isinstance(part, torch.nn.ModuleList) and len(part) == number
    ]
    if not candidates:
        raise EncoderError(
            f"{module.config.model_type}: has no separate weights for each of its {number} layers",
            hint="Train all of its weights at the same learning rate",
        )
    # Of several lists of this length, the layers have the most parameters.
    return max(candidates, key=_count_parameters)


def parameter_depths(module: "PreTrainedModel") -> dict[torch.nn.Parameter, int]:
    """The depth of each trained parameter: 0 below the layers, 1 in the lowest layer, and so on.

    Depth 0 has all parameters outside the layers that the output of the highest layer depends
    on: embeddings of any kind, wherever the encoder keeps them. Other parameters (poolers, final
    norms) have the depth of the highest layer.

    Raises:
        EncoderError: See `find_layers`.
    """
    layers = find_layers(module)
    trained = [each for each in module.parameters() if each.requires_grad]
    used = _used_by(layers[-1], module, trained)
    depths = {
        each: 0 if is_used else len(layers) for each, is_used in zip(trained, used, strict=True)
    }
    for depth, layer in enumerate(layers, start=1):
        depths |= {each: depth for each in layer.parameters() if each in depths}
    return depths


def freeze_lowest(module: "PreTrainedModel", n_layers: int) -> None:
    """Freeze the embeddings and this many of the lowest layers.

    torch's backward pass ends above the frozen layers, since nothing below needs a gradient.

    Raises:
        EncoderError: See `find_layers`.
        ArgumentError: No layer would be left to train.
    """
    number = len(find_layers(module))
    if n_layers >= number:
        raise ArgumentError(
            f"--freeze-layers {n_layers}: the encoder has {plural(number, 'layer')}, and at least "
            "one must be left to train",
            hint="To train only the classifier: --freeze-encoder",
        )
    for parameter, depth in parameter_depths(module).items():
        if depth <= n_layers:
            parameter.requires_grad_(False)


def _count_parameters(layers: torch.nn.ModuleList) -> int:
    return sum(parameter.numel() for parameter in layers.parameters())


def _used_by(
    layer: torch.nn.Module, module: "PreTrainedModel", parameters: list[torch.nn.Parameter]
) -> list[bool]:
    """Whether a layer's output depends on each parameter."""
    outputs: list[Any] = []

    def record(layer: torch.nn.Module, inputs: Any, output: Any) -> None:
        # Some layers return a tuple that starts with their hidden states.
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hook, was_training = layer.register_forward_hook(record), module.training
    # Dropout would draw random numbers.
    module.eval()
    with torch.enable_grad():
        module(input_ids=any_ids(module), **call_options(forward_arguments(module)))
    module.train(was_training)
    hook.remove()
    gradients = torch.autograd.grad(outputs[-1].sum(), parameters, allow_unused=True)
    return [gradient is not None for gradient in gradients]
