"""In which numbers an encoder is trained."""

from contextlib import AbstractContextManager
from typing import Any

import torch

from trfcli_pipeline.errors import DeviceError, SettingsError

PRECISIONS: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn what was asked for into one of PRECISIONS.

    Args:
        name: One of these, or "auto": bf16 on an accelerator that computes in it by itself, else
            fp32. On a CPU, bf16 is a gain for a few kinds only.

    Raises:
        SettingsError: There is no such precision.
        DeviceError: The device doesn't have it.
    """
    if name == "auto":
        return (
            "bf16"
            if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
            else "fp32"
        )
    if name not in PRECISIONS:
        raise SettingsError(f"{name}: not a precision", hint="Use auto, fp32, bf16 or fp16")
    if name != "fp32" and not torch.amp.is_autocast_available(device.type):
        raise DeviceError(f"{device.type}: can't train in {name}", hint="Use fp32")
    return name


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Has matrix products computed in a precision; weights, sums and norms stay in float32.

    It holds for the calling thread only.
    """
    # The cache of weights would be shared by threads, and a pass uses each weight once.
    return torch.autocast(device.type, PRECISIONS[precision], cache_enabled=False)


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps gradients within the range of fp16; for other precisions, it does nothing.

    They are scaled up before the backward pass and down again before the step, which is left out
    where one overflowed; the scale follows what overflows.
    """
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    # It would else set itself up at its first use, in several threads at once.
    scaler.scale(torch.zeros((), device=device))
    return scaler


def to_float32(value: Any) -> Any:
    """A tensor, or a tuple of some, in float32; with the way back for gradients."""
    if isinstance(value, tuple):
        return tuple(to_float32(each) for each in value)
    return value.float() if isinstance(value, torch.Tensor) else value
