"""In which numbers an encoder is trained."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.errors import DeviceError, PipelineError

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

PRECISIONS: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}

# Kernels that torch and oneDNN keep, where they would keep a thousand each.
_KERNEL_CACHES = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}

# Between as many, the matrices of attention take about half the memory of a layer's other outputs.
_FEW_PIECES = 128


def check_precision(name: str) -> None:
    """Make sure that a setting is "auto" or one of PRECISIONS; raises PipelineError if not."""
    if name != "auto" and name not in PRECISIONS:
        raise PipelineError(
            f"precision: can't be {name!r}", hint='Use "auto", "fp32", "bf16" or "fp16"'
        )


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn what was asked for into one of PRECISIONS.

    Args:
        name: One of these, or "auto": bf16 on a GPU or CPU that computes in it by itself, else
            fp32.

    Raises:
        PipelineError: There is no such precision.
        DeviceError: The device doesn't have it.
    """
    check_precision(name)
    if name == "auto":
        return "bf16" if _computes_in_bf16(device) else "fp32"
    if name != "fp32" and not torch.amp.is_autocast_available(device.type):
        raise DeviceError(f"{device.type}: can't train in {name}", hint="Use fp32")
    return name


def _computes_in_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for it, rather than emulates them."""
    match device.type:
        case "cuda":
            return torch.cuda.is_bf16_supported(including_emulation=False)
        case "cpu":
            # Not there in older versions of torch.
            found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
            return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False


def bound_kernels(device: torch.device) -> None:
    """Have a CPU keep few kernels, unless the environment says how many.

    In reduced precision there are some for each shape of a sub-batch, half a megabyte or more
    apiece. Batches of like length need few, and a new one is made in a millisecond. The bounds are
    read when the first kernel is made, so this has to come before anything runs.
    """
    if device.type == "cpu":
        for name, number in _KERNEL_CACHES.items():
            os.environ.setdefault(name, number)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Has matrix products computed in a precision; weights, sums and norms stay in float32.

    Weights are converted once for all of it, if that leaves their gradients in range: those of
    several sub-batches then are summed in that precision, which fp16 hasn't the range for.
    """
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, PRECISIONS[precision], cache_enabled=precision != "fp16")


@contextmanager
def quick_attention(module: "PreTrainedModel", precision: str, n_pieces: int) -> Iterator[None]:
    """Has attention computed by matrix products where these are quicker, and need little memory.

    That is on a CPU, in reduced precision and between few wordpieces: there, the backward pass of
    torch's own attention takes longer than the same in float32.

    Args:
        n_pieces: Wordpieces of the longest row.
    """
    is_other = (
        precision != "fp32"
        and module.device.type == "cpu"
        and n_pieces <= _FEW_PIECES
        and module.config._attn_implementation == "sdpa"
    )
    if is_other:
        module.set_attn_implementation("eager")
    try:
        yield
    finally:
        if is_other:
            module.set_attn_implementation("sdpa")


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps gradients within the range of fp16; for other precisions, it does nothing.

    They are scaled up before the backward pass and down again before the step, which is left out
    where one overflowed; the scale follows what overflows.
    """
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    # It would else set itself up when it first scales, which a state that is restored comes before.
    scaler.scale(torch.zeros((), device=device))
    return scaler


def to_float32(value: Any) -> Any:
    """A tensor, or a tuple of some, in float32; with the way back for gradients."""
    if isinstance(value, tuple):
        return tuple(to_float32(each) for each in value)
    return value.float() if isinstance(value, torch.Tensor) else value
