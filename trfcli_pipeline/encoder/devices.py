"""Devices and their memory."""

import ctypes
import gc
import multiprocessing
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from thinc.compat import has_cupy_gpu

from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.errors import ArgumentError, DeviceError

_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
# The files of a control group's memory: its limit, its use, and the use by the file cache that the
# kernel would give up, by version.
_CGROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
_NO_LIMIT = 2**60
_chosen: ContextVar[str | None] = ContextVar("device", default=None)
# Used if the system doesn't report its free memory.
_ASSUMED_FREE_BYTES = 2 * 2**30


class DeviceWarning(UserWarning):
    """A pipeline's config names a device that this machine doesn't have."""


def resolve_device(name: str = "auto", *, replace_missing: bool = False) -> torch.device:
    """Find a device by name.

    Args:
        name: A torch device, such as "cpu", "cuda:1" or "mps"; "auto" for the machine's
            accelerator if torch supports it, else the CPU.
        replace_missing: If the machine has no such device, warn and return that of "auto". For
            names that are in a pipeline's config.

    Raises:
        ArgumentError: The name is invalid.
        DeviceError: The machine has no such device, or the name in a config is invalid.
    """
    accelerator = torch.accelerator.current_accelerator() if _has_accelerator() else None
    best = torch.device("cpu") if accelerator is None else accelerator
    if name == "auto":
        return best
    device = _named(name, is_option=not replace_missing)
    if device.type == "cpu":
        return device
    count = 0 if device.type != best.type else torch.accelerator.device_count()
    if count > (device.index or 0):
        return device
    missing = f"{name}: this machine has no such device"
    if count:
        missing = f"{name}: this machine has only {count} of these, numbered from 0"
    if not replace_missing:
        raise DeviceError(missing, hint=f"Use auto or {best}")
    warnings.warn(f"{missing}; the encoder runs on {best}", DeviceWarning, stacklevel=2)
    return best


def _named(name: str, *, is_option: bool) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError as error:
        problem, hint = f"{name}: not a device name", "Use auto, cpu, cuda, cuda:1 or mps"
        if is_option:
            raise ArgumentError(f"--device {problem}", hint=hint) from error
        raise DeviceError(problem, hint=hint) from error


@contextmanager
def use_device(name: str) -> Iterator[None]:
    """Create encoders on a device inside the context, whatever their configs name.

    So their weights are loaded straight to it.
    """
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_device(name: str) -> str:
    """The device of `use_device`, or else the one that is given.

    Raises:
        DeviceError: The given name isn't one of a device.
    """
    if name != "auto":
        _named(name, is_option=False)
    return _chosen.get() or name


def share_devices(device: torch.device) -> torch.device:
    """The device of this process if it is one of several workers: they take turns.

    Args:
        device: The device of the process that started the workers. One with a number is kept.
    """
    # A process knows its place among those that its parent started, counted from 1.
    place = getattr(multiprocessing.current_process(), "_identity", ())
    if not place or device.type == "cpu" or ":" in str(device):
        return device
    return torch.device(device.type, (place[-1] - 1) % torch.accelerator.device_count())


def can_fork() -> bool:
    """Whether forks of this process can do what it does.

    macOS and Windows don't allow it. Once a process has used CUDA, its forks can't, and thinc uses
    it as soon as it is imported where CuPy is installed.
    """
    return sys.platform == "linux" and not has_cupy_gpu and not torch.cuda.is_initialized()


def free_bytes(device: torch.device) -> int:
    """Free memory on the device, in bytes.

    On a CPU, this includes the file cache, and a container has no more than its limit leaves.
    """
    if device.type != "cpu":
        memory = accelerator_memory(device)
        return _ASSUMED_FREE_BYTES if memory is None else memory[0] + _cached_bytes(device)
    available = _read_bytes(_MEMINFO, "MemAvailable")
    available = _ASSUMED_FREE_BYTES if available is None else available
    return min([available, *_free_in_cgroups()])


def peak_bytes() -> int | None:
    """Peak memory of this process in bytes; None if the system doesn't report it."""
    # In `getrusage`, the peak of a new process starts at the memory of its parent.
    return _read_bytes(_STATUS, "VmHWM")


def _read_bytes(path: Path, name: str) -> int | None:
    """Read an amount of memory from a file of Linux; None if it isn't there."""
    found = path.exists() and re.search(rf"^{name}:\s*(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _free_in_cgroups() -> Iterator[int]:
    """What the memory limit of each of this process's control groups leaves, in bytes."""
    for group, (limit, usage, cached) in _limited_groups(_CGROUPS, _CGROUP_ROOT):
        try:
            most, used = (int((group / name).read_text()) for name in (limit, usage))
            stat = (group / "memory.stat").read_text()
        except (OSError, ValueError):
            # The limit was lifted.
            continue
        found = re.search(rf"^{cached} (\d+)$", stat, re.MULTILINE)
        yield max(most - used + (int(found[1]) if found else 0), 0)


@cache
def _limited_groups(cgroups: Path, root: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """The control groups of this process that have a memory limit, with the names of the files."""
    found = []
    lines = cgroups.read_text().splitlines() if cgroups.exists() else []
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0":
            version, mount = 2, root
        elif "memory" in controllers.split(","):
            version, mount = 1, root / "memory"
        else:
            continue
        own = mount / path.lstrip("/")
        # A limit of a group holds for the groups within it. In a container, the path may be that
        # of the host, and the mount is the container's own group.
        for group in (own, *own.parents):
            limit = group / _CGROUP_FILES[version][0]
            if group.is_relative_to(mount) and limit.exists():
                text = limit.read_text().strip()
                # Version 1 has a huge number for no limit.
                if text.isdecimal() and int(text) < _NO_LIMIT:
                    found.append((group, _CGROUP_FILES[version]))
    return found


def release_unused(device: torch.device) -> None:
    """Free the memory of an accelerator that isn't in use.

    Torch's cache may be fragmented. Pipelines are in reference cycles, so the weights of those that
    are no longer in use stay until the garbage collector runs.
    """
    if device.type != "cpu":
        gc.collect()
        torch.accelerator.empty_cache()


def summing_dtype(device: torch.device) -> torch.dtype:
    """The data type for long sums: double precision, which Apple's GPUs don't have."""
    return torch.float32 if device.type == "mps" else torch.float64


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


def describe_device(device: torch.device) -> str:
    """A device in words: "cpu (2 threads)", "cuda:0 (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return (
        f"cpu ({plural(torch.get_num_threads(), 'thread')})"
        if device.type == "cpu"
        else str(device)
    )


def installed_version(distribution: str) -> str | None:
    """The version of an installed Python package, None if it isn't installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
