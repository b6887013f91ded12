"""Copy tensors between the CPU and an accelerator: many of them in one transfer, without waiting.

Each transfer takes as long as starting it, unless it is large; and one to or from memory that isn't
pinned makes the CPU wait for all that the accelerator has yet to do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from thinc.api import CupyOps, Ops, get_array_module, torch2xp, xp2torch


def upload(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Copy tensors of one type from the CPU to a device."""
    if device.type == "cpu" or not tensors:
        return list(tensors)
    size = sum(each.numel() for each in tensors)
    flat = torch.empty(size, dtype=tensors[0].dtype, pin_memory=device.type == "cuda")
    torch.cat([each.flatten() for each in tensors], out=flat)
    return _split(flat.to(device, non_blocking=True), tensors)


def upload_arrays(arrays: Sequence[Any], device: torch.device) -> list[torch.Tensor]:
    """Copy arrays to a device. CuPy's arrays that are there already are shared."""
    if any(get_array_module(each) is not np for each in arrays):
        return [xp2torch(each, device=device) for each in arrays]
    contiguous: list[Any] = [np.ascontiguousarray(each) for each in arrays]
    return upload([torch.from_numpy(each) for each in contiguous], device)


def download(
    tensors: Sequence[torch.Tensor], ops: Ops, *, short_lived: bool = False
) -> Callable[[], list[Any]]:
    """Start to copy tensors of one type to where Thinc computes.

    Args:
        tensors: All on the same device.
        ops: With CuPy, arrays stay on the GPU. Otherwise they are NumPy's.
        short_lived: Whether the arrays are soon released, so that they may stay in pinned memory.

    Returns:
        A function that waits for the arrays and returns them.
    """
    if isinstance(ops, CupyOps):
        arrays = [ops.asarray(torch2xp(each.detach())) for each in tensors]
        return lambda: arrays
    if not tensors or not tensors[0].is_cuda:
        # Memory of the CPU is shared.
        return lambda: [each.detach().cpu().numpy() for each in tensors]
    flat = torch.cat([each.detach().flatten() for each in tensors])
    pinned = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    pinned.copy_(flat, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(flat.device))

    def wait() -> list[Any]:
        done.synchronize()
        # Pinned memory can't be swapped out.
        arrays = pinned if short_lived else pinned.clone()
        return [each.numpy() for each in _split(arrays, tensors)]

    return wait


def _split(flat: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    parts = flat.split([each.numel() for each in like])
    return [part.view(each.shape) for part, each in zip(parts, like, strict=True)]
