"""Which device the encoder runs on, how much memory it has, and how many words fit."""

import ctypes
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from trfcli_pipeline.errors import DeviceError

_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
# What a machine is assumed to have free where the system doesn't say.
_ASSUMED_FREE_BYTES = 2 * 2**30


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a device's name into the device.

    Args:
        name: A name that torch knows, such as "cpu", "cuda:1" or "mps"; "auto" is the machine's
            accelerator if torch can use one, else the CPU.

    Raises:
        DeviceError: torch doesn't know the name, or the machine has no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if _has_accelerator() else None
    if name == "auto":
        return torch.device("cpu") if accelerator is None else accelerator
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{name}: not a device that torch knows", hint="Use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cpu":
        return device
    if accelerator is None or device.type != accelerator.type:
        raise DeviceError(
            f"{name}: this machine has no such device",
            hint=f"Use auto or {'cpu' if accelerator is None else accelerator.type}",
        )
    count = torch.accelerator.device_count()
    if device.index is not None and device.index >= count:
        raise DeviceError(f"{name}: this machine has {count} of these, counted from 0")
    return device


def free_bytes(device: torch.device) -> int:
    """Memory that is free for tensors on the device, in bytes."""
    if device.type != "cpu":
        memory = accelerator_memory(device)
        return _ASSUMED_FREE_BYTES if memory is None else memory[0] + _cached_bytes(device)
    if _MEMINFO.exists():
        # Not the free pages: those that cache files are as good as free.
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", _MEMINFO.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return _ASSUMED_FREE_BYTES


def peak_bytes() -> int | None:
    """The most memory that this process has had so far; None where the system doesn't say."""
    if not _STATUS.exists():
        return None
    # Not what `getrusage` says: in a new process, that begins with what its parent had.
    found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory didn't suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # What torch raises on a CPU or with MPS can be told by its text only.
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def empty_cache(device: torch.device) -> None:
    """Give memory back that torch holds but doesn't use: it may be in pieces too small."""
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def trim_heap() -> None:
    """Give memory back that was freed but that the C library (glibc) holds.

    Threads that take and free blocks of many sizes leave gaps, so that the heap of each grows in
    the course of a long stream.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _malloc_trim() -> Any:
    """glibc's function; None where the C library is another."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def graph_bytes_per_piece(*, layers: int, width: int, heads: int, length: int) -> int:
    """Memory that the graph of one wordpiece holds between forward and backward pass.

    Activations of a transformer layer in 16 bits take h (34 + 5 a s / h) bytes a position, for
    width h, a heads and sequence length s (Korthikanti et al. 2022, "Reducing Activation
    Recomputation in Large Transformer Models", eq. 2); in float32 twice that.

    Args:
        length: Wordpieces of the row that the wordpiece is in.
    """
    return 2 * layers * (34 * width + 5 * heads * length)


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def accelerator_memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes; None where torch can't tell, for example with MPS."""
    try:
        free, total = torch.accelerator.get_memory_info(device)
    except RuntimeError:
        return None
    return int(free), int(total)


def _cached_bytes(device: torch.device) -> int:
    """Memory that torch holds but doesn't use, which the device doesn't count as free."""
    try:
        reserved = torch.accelerator.memory_reserved(device)
        return int(reserved - torch.accelerator.memory_allocated(device))
    except RuntimeError:
        return 0


def installed_version(distribution: str) -> str | None:
    """The version of an installed Python package, None if it isn't installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
