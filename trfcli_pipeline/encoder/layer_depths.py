"""How deep in an encoder each of its parameters is, for what treats lower layers differently.

No names of models: layers are found by the encoder's structure, and what lies below them by what
their output depends on.
"""

from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.encoder.capabilities import any_ids, call_options, forward_arguments
from trfcli_pipeline.errors import EncoderError

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel


def find_layers(module: "PreTrainedModel") -> torch.nn.ModuleList:
    """The encoder's layers, from the lowest to the uppermost.

    Raises:
        EncoderError: It has no list of as many layers as its config says.
    """
    number = module.config.num_hidden_layers
    found = [
        part
        for part in module.modules()
        if isinstance(part, torch.nn.ModuleList) and len(part) == number
    ]
    if not found:
        raise EncoderError(
            f"{module.config.model_type}: has no layers of its own, one for each of {number}",
            hint="Its layers share their weights: train all of it alike",
        )
    # Of several lists of one length, the layers are those that hold the most.
    return max(found, key=_size)


def parameter_depths(module: "PreTrainedModel") -> dict[torch.nn.Parameter, int]:
    """The depth of each parameter that is trained: 0 below the layers, in them from 1 on.

    Embeddings of any kind are below, wherever the encoder keeps them: whatever the uppermost layer
    gives depends on, and isn't in a layer. The rest (poolers, last norms) is as deep as the
    uppermost layer.

    Raises:
        EncoderError: As of `find_layers`.
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
    """Leave the embeddings and this many of the lowest layers out of training.

    Nothing below what is trained needs a gradient, so torch's backward pass ends there.

    Raises:
        EncoderError: As of `find_layers`, or the encoder has no more than this many layers.
    """
    number = len(find_layers(module))
    if n_layers >= number:
        raise EncoderError(
            f"{module.config.model_type}: has {number} layers, so {n_layers} can't stay as they "
            "are while it is trained",
            hint="To train the classifier alone: --freeze-encoder",
        )
    for parameter, depth in parameter_depths(module).items():
        if depth <= n_layers:
            parameter.requires_grad_(False)


def _size(layers: torch.nn.ModuleList) -> int:
    return sum(parameter.numel() for parameter in layers.parameters())


def _used_by(
    layer: torch.nn.Module, module: "PreTrainedModel", parameters: list[torch.nn.Parameter]
) -> list[bool]:
    """Whether each parameter has a part in what a layer gives."""
    outputs: list[Any] = []

    def note(layer: torch.nn.Module, inputs: Any, output: Any) -> None:
        # Layers give their hidden states; some give more behind these.
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hook, was_training = layer.register_forward_hook(note), module.training
    # Dropout would draw random numbers.
    module.eval()
    with torch.enable_grad():
        module(input_ids=any_ids(module), **call_options(forward_arguments(module)))
    module.train(was_training)
    hook.remove()
    gradients = torch.autograd.grad(outputs[-1].sum(), parameters, allow_unused=True)
    return [gradient is not None for gradient in gradients]
