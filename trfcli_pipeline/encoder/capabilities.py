"""What an encoder accepts and returns, found from its signature and by trial runs.

There are no lists of model names: any model that `AutoModel` loads is handled by its behavior.
"""

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import DeviceError, EncoderError, is_out_of_memory, one_line

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

# Row lengths of the trial runs, in wordpieces.
_SHORT, _LONG = 3, 6
# Tolerated difference between a padded row and the same row alone, relative to the largest value.
_TOLERANCE = 1e-4
_HINT = "Use an encoder (BERT, RoBERTa, ...) or a decoder (GPT-2, ...)"


@dataclass(frozen=True, slots=True)
class EncoderCapabilities:
    """How an encoder can be used.

    Attributes:
        arguments: Names of the arguments of its `forward`.
        width: Width of its last hidden state.
        ignores_padding: Whether a padded and masked row gives the same output as the row alone. It
            doesn't if wordpieces see their neighbors past the mask (the convolutions of ConvBERT,
            the neighboring embeddings of MobileBERT), or if there is no mask (FNet).
        has_types: Whether it distinguishes the texts of a pair by token type ids.
        changes_itself: Whether the first short input replaces layers for good, as in BigBird, which
            switches to full attention. Such an encoder must see a short input before it predicts.
        hidden_states: Whether a trial run showed that it returns the output of every layer.
        attentions: Whether a trial run showed that it returns attentions.
    """

    arguments: frozenset[str] = frozenset()
    width: int = 0
    ignores_padding: bool = True
    has_types: bool = False
    changes_itself: bool = False
    hidden_states: bool = False
    attentions: bool = False


def find_capabilities(model: "PreTrainedModel") -> EncoderCapabilities:
    """Find an encoder's capabilities by trial runs.

    Raises:
        EncoderError: It can't run on wordpieces alone, or doesn't return a row for each of them.
        DeviceError: Memory ran out.
    """
    arguments = forward_arguments(model)
    layers = _layer_types(model)
    ids = any_ids(model)
    alone = _try(model, input_ids=ids[:1, :_SHORT])
    changes_itself = _layer_types(model) != layers
    hidden = getattr(alone, "last_hidden_state", None)
    if hidden is None or hidden.ndim != 3 or hidden.shape[:2] != (1, _SHORT):
        raise EncoderError(
            f"{model.config.model_type}: returns no hidden state for each wordpiece", hint=_HINT
        )
    ignores_padding = False
    if "attention_mask" in arguments:
        padded, mask = ids.clone(), torch.ones_like(ids)
        padded[0, _SHORT:] = pad_id(model)
        mask[0, _SHORT:] = 0
        output = _try(model, input_ids=padded, attention_mask=mask)
        ignores_padding = _is_close(output.last_hidden_state[:1, :_SHORT], hidden)
    return EncoderCapabilities(
        arguments=arguments,
        width=hidden.shape[2],
        ignores_padding=ignores_padding,
        has_types="token_type_ids" in arguments and getattr(model.config, "type_vocab_size", 2) > 1,
        changes_itself=changes_itself,
    )


def require_outputs(
    model: "PreTrainedModel",
    capabilities: EncoderCapabilities,
    *,
    all_hidden_states: bool,
    all_attentions: bool,
) -> EncoderCapabilities:
    """Make sure that an encoder returns what is requested, by a trial run if this is unknown.

    Returns:
        The capabilities, with the outputs that are now known to work.

    Raises:
        EncoderError: A requested output is missing.
    """
    needs_hidden_states = all_hidden_states and not capabilities.hidden_states
    needs_attentions = all_attentions and not capabilities.attentions
    if not needs_hidden_states and not needs_attentions:
        return capabilities
    output = _try(
        model,
        input_ids=any_ids(model)[:1, :_SHORT],
        output_hidden_states=needs_hidden_states,
        output_attentions=needs_attentions,
    )
    kind = model.config.model_type
    shape = (1, _SHORT, capabilities.width)
    if needs_hidden_states and not _have_shape(output, "hidden_states", shape):
        raise EncoderError(
            f"{kind}: its layers return no hidden state for each wordpiece",
            hint="Leave out all_hidden_states",
        )
    if needs_attentions and not _have_shape(output, "attentions", (1, -1, _SHORT, _SHORT)):
        raise EncoderError(
            f"{kind}: returns no attentions between all wordpieces",
            hint="Leave out all_attentions",
        )
    return replace(
        capabilities,
        hidden_states=capabilities.hidden_states or all_hidden_states,
        attentions=capabilities.attentions or all_attentions,
    )


def returns_layers(model: "PreTrainedModel", capabilities: EncoderCapabilities) -> bool:
    """Check whether an encoder can return the output of every layer."""
    try:
        require_outputs(model, capabilities, all_hidden_states=True, all_attentions=False)
    except EncoderError:
        return False
    return True


def run_short_input(model: "PreTrainedModel") -> None:
    """Run a short input, for encoders that change themselves."""
    _try(model, input_ids=any_ids(model)[:1, :_SHORT])


def forward_arguments(model: "PreTrainedModel") -> frozenset[str]:
    """Names of the arguments that the encoder can be called with."""
    parameters = inspect.signature(model.forward).parameters
    names = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    # Models that pass **kwargs on accept these without naming them.
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        names |= {"return_dict", "output_hidden_states", "output_attentions"}
    return frozenset(names)


def call_options(arguments: frozenset[str], **options: bool) -> dict[str, bool]:
    """The options of a forward call that the encoder accepts."""
    # Caches only help when generating text.
    options = {"return_dict": True, "use_cache": False, "use_mems": False, **options}
    return {name: value for name, value in options.items() if name in arguments}


def pad_id(model: "PreTrainedModel") -> int:
    """The wordpiece id for padding. Any id will do if the model has none, as it is masked."""
    return getattr(model.config, "pad_token_id", None) or 0


def any_ids(model: "PreTrainedModel") -> torch.Tensor:
    """Two rows of wordpiece ids without padding. *Shape:* (2, 6)"""
    size = getattr(model.config, "vocab_size", _LONG + 1)
    ids = [each for each in range(min(size, _LONG + 1)) if each != pad_id(model)]
    row = [ids[i % len(ids)] for i in range(_LONG)]
    return torch.tensor([row, row[::-1]], device=model.device)


def _try(model: "PreTrainedModel", **inputs: Any) -> Any:
    tensors = {name: each for name, each in inputs.items() if isinstance(each, torch.Tensor)}
    options = {name: each for name, each in inputs.items() if name not in tensors}
    try:
        with torch.inference_mode():
            return model(**tensors, **call_options(forward_arguments(model), **options))
    # A model that needs other inputs may raise any exception.
    except Exception as error:
        if is_out_of_memory(error):
            raise DeviceError(
                f"{model.config.model_type}: not enough memory on {model.device} for a trial run",
                hint="Use a smaller encoder, or a machine with more memory",
            ) from error
        raise EncoderError(
            f"{model.config.model_type}: can't run on wordpieces alone: {one_line(error)}",
            hint=_HINT,
        ) from error


def _layer_types(model: "PreTrainedModel") -> list[type]:
    return [type(part) for part in model.modules()]


def _have_shape(output: Any, name: str, shape: tuple[int, ...]) -> bool:
    """Whether there are arrays of this name, all of this shape; -1 stands for any size."""
    arrays = getattr(output, name, None) or [None]
    return all(
        array is not None
        and array.ndim == len(shape)
        and all(size in (-1, own) for size, own in zip(shape, array.shape, strict=True))
        for array in arrays
    )


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).abs().max()) <= _TOLERANCE * float(other.abs().max())
