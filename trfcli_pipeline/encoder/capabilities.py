"""What an encoder takes and gives, found out from its signature and by running it.

No names of models: whatever `AutoModel` loads is treated by what it does.
"""

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import EncoderError, one_line

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

# Wordpieces of the rows that an encoder is tried with.
_SHORT, _LONG = 3, 6
# What a padded row may differ from the same row alone, as a part of the largest value.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class EncoderCapabilities:
    """How an encoder can be used.

    Attributes:
        arguments: The names of the arguments that it can be called with.
        width: Width of its last hidden state.
        ignores_padding: Whether a row that is padded and masked gives what it gives alone. It
            doesn't where wordpieces see their neighbours past the mask (the convolutions of
            ConvBERT, the neighbouring embeddings of MobileBERT), or where there is no mask (FNet).
        has_types: Whether it tells the texts of a pair apart by token type ids.
    """

    arguments: frozenset[str] = frozenset()
    width: int = 0
    ignores_padding: bool = True
    has_types: bool = False


def find_capabilities(
    model: "PreTrainedModel", *, all_hidden_states: bool = False, all_attentions: bool = False
) -> EncoderCapabilities:
    """Try an encoder out.

    Args:
        all_hidden_states: Whether the output of every layer will be asked for.
        all_attentions: Whether the attentions will be asked for.

    Raises:
        EncoderError: It can't be run on wordpieces alone, gives no row for each of them, or not
            what will be asked for.
    """
    arguments = forward_arguments(model)
    kind = model.config.model_type
    ids = any_ids(model)
    try:
        with torch.inference_mode():
            alone = _run(model, arguments, ids[:1, :_SHORT])
            padded = _run_padded(model, arguments, ids)
            # Behind the first run: in that, as in any of a short text, BigBird replaces its
            # layers by others, with full attention, which then stay.
            whole = _run(
                model,
                arguments,
                ids[:1, :_SHORT],
                output_hidden_states=all_hidden_states,
                output_attentions=all_attentions,
            )
    # Whatever a model that wants other input makes of this one.
    except Exception as error:
        raise EncoderError(
            f"{kind}: can't be run on wordpieces alone: {one_line(error)}",
            hint="Use an encoder (BERT, RoBERTa, ...) or a decoder (GPT-2, ...)",
        ) from error
    hidden = getattr(alone, "last_hidden_state", None)
    if hidden is None or hidden.ndim != 3 or hidden.shape[:2] != (1, _SHORT):
        raise EncoderError(
            f"{kind}: gives no hidden state for each wordpiece",
            hint="Use an encoder (BERT, RoBERTa, ...) or a decoder (GPT-2, ...)",
        )
    if all_hidden_states and not _have_shape(whole, "hidden_states", (1, _SHORT, -1)):
        raise EncoderError(
            f"{kind}: its layers give no hidden state for each wordpiece",
            hint="Leave out all_hidden_states",
        )
    if all_attentions and not _have_shape(whole, "attentions", (1, -1, _SHORT, _SHORT)):
        raise EncoderError(
            f"{kind}: gives no attentions between all wordpieces",
            hint="Leave out all_attentions",
        )
    return EncoderCapabilities(
        arguments=arguments,
        width=hidden.shape[2],
        ignores_padding=padded is not None
        and _is_close(padded.last_hidden_state[:1, :_SHORT], hidden),
        has_types="token_type_ids" in arguments and getattr(model.config, "type_vocab_size", 2) > 1,
    )


def forward_arguments(model: "PreTrainedModel") -> frozenset[str]:
    """The names of the arguments that the encoder can be called with."""
    parameters = inspect.signature(model.forward).parameters
    names = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    # Models that pass **kwargs on take these without naming them.
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        names |= {"return_dict", "output_hidden_states", "output_attentions"}
    return frozenset(names)


def call_options(arguments: frozenset[str], **asked_for: bool) -> dict[str, bool]:
    """The switches of a call, as far as the encoder has them."""
    # Only generating text gains from what earlier calls computed.
    switches = {"return_dict": True, "use_cache": False, "use_mems": False, **asked_for}
    return {name: value for name, value in switches.items() if name in arguments}


def pad_id(model: "PreTrainedModel") -> int:
    """What to fill rows up with; any id will do where the model has none, as it is masked."""
    return getattr(model.config, "pad_token_id", None) or 0


def any_ids(model: "PreTrainedModel") -> torch.Tensor:
    """Two rows of wordpieces, none of them padding."""
    size = getattr(model.config, "vocab_size", _LONG + 1)
    ids = [each for each in range(min(size, _LONG + 1)) if each != pad_id(model)]
    row = [ids[i % len(ids)] for i in range(_LONG)]
    return torch.tensor([row, row[::-1]], device=model.device)


def _run(
    model: "PreTrainedModel", arguments: frozenset[str], ids: torch.Tensor, **asked_for: bool
) -> Any:
    return model(input_ids=ids, **call_options(arguments, **asked_for))


def _run_padded(model: "PreTrainedModel", arguments: frozenset[str], ids: torch.Tensor) -> Any:
    if "attention_mask" not in arguments:
        return None
    padded, mask = ids.clone(), torch.ones_like(ids)
    padded[0, _SHORT:] = pad_id(model)
    mask[0, _SHORT:] = 0
    return model(input_ids=padded, attention_mask=mask, **call_options(arguments))


def _have_shape(output: Any, name: str, shape: tuple[int, ...]) -> bool:
    """Whether there are arrays of that name, all of them of that shape; -1 is any size."""
    arrays = getattr(output, name, None) or [None]
    return all(
        array is not None
        and array.ndim == len(shape)
        and all(size in (-1, own) for size, own in zip(shape, array.shape, strict=True))
        for array in arrays
    )


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).abs().max()) <= _TOLERANCE * float(other.abs().max())
