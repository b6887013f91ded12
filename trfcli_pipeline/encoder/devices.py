"""Devices and their memory."""

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
# Used if the system doesn't report its free memory.
_ASSUMED_FREE_BYTES = 2 * 2**30


def resolve_device(name: str = "auto") -> torch.device:
    """Find a device by name.

    Args:
        name: A torch device, such as "cpu", "cuda:1" or "mps"; "auto" for the machine's
            accelerator if torch supports it, else the CPU.

    Raises:
        DeviceError: The name is invalid, or the machine has no such device.
    """
    accelerator = torch.accelerator.current_accelerator() if _has_accelerator() else None
    if name == "auto":
        return torch.device("cpu") if accelerator is None else accelerator
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(
            f"{name}: not a device name", hint="Use auto, cpu, cuda, cuda:1 or mps"
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
        raise DeviceError(f"{name}: this machine has only {count} of these, numbered from 0")
    return device


def free_bytes(device: torch.device) -> int:
    """Free memory on the device, in bytes. On a CPU, this includes the file cache."""
    if device.type != "cpu":
        memory = accelerator_memory(device)
        return _ASSUMED_FREE_BYTES if memory is None else memory[0] + _cached_bytes(device)
    available = _read_bytes(_MEMINFO, "MemAvailable")
    return _ASSUMED_FREE_BYTES if available is None else available


def peak_bytes() -> int | None:
    """Peak memory of this process in bytes; None if the system doesn't report it."""
    # In `getrusage`, the peak of a new process starts at the memory of its parent.
    return _read_bytes(_STATUS, "VmHWM")


def _read_bytes(path: Path, name: str) -> int | None:
    """Read an amount of memory from a file of Linux; None if it isn't there."""
    found = path.exists() and re.search(rf"^{name}:\s*(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def empty_cache(device: torch.device) -> None:
    """Free the memory that torch caches on an accelerator: it may be fragmented."""
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def trim_heap() -> None:
    """Return freed memory from glibc's heap to the system.

    glibc's per-thread heaps fragment and grow when threads allocate blocks of many sizes, as in a
    long stream of texts.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _malloc_trim() -> Any:
    """glibc's `malloc_trim`; None for other C libraries."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def accelerator_memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total memory in bytes; None if torch can't tell, as for MPS in some versions."""
    try:
        free, total = torch.accelerator.get_memory_info(device)
    except RuntimeError:
        return None
    return int(free), int(total)


def _cached_bytes(device: torch.device) -> int:
    """Memory that torch caches, which the device doesn't report as free, in bytes."""
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
