import multiprocessing
import os
import platform
import sys
import weakref
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from trfcli_pipeline.encoder import devices
from trfcli_pipeline.encoder.devices import (
    DeviceWarning,
    can_fork,
    free_bytes,
    installed_version,
    peak_bytes,
    release_unused,
    resolve_device,
    share_devices,
    trim_heap,
)
from trfcli_pipeline.errors import ArgumentError, DeviceError

FREE, TOTAL = 6_000_000_000, 24_000_000_000
ASSUMED_FREE = 2 * 1024**3


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes torch report this kind and number of accelerators; none by default."""

    def simulate(kind: str | None = None, count: int = 0) -> None:
        functions = {
            "is_available": lambda: kind is not None,
            "current_accelerator": lambda: None if kind is None else torch.device(kind),
            "device_count": lambda: count,
            "get_memory_info": lambda device: (FREE + (device.index or 0), TOTAL),
        }
        for name, function in functions.items():
            monkeypatch.setattr(torch.accelerator, name, function)

    simulate()
    return simulate


def no_memory_info(device: torch.device) -> tuple[int, int]:
    raise NotImplementedError("getMemoryInfo is not implemented for this allocator yet.")


@pytest.mark.usefixtures("simulate")
@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_used_without_an_accelerator(name: str) -> None:
    assert resolve_device(name) == torch.device("cpu")
    assert resolve_device() == torch.device("cpu")


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_auto_chooses_the_accelerator(simulate: Callable[..., None], kind: str) -> None:
    simulate(kind, 1)
    assert resolve_device() == resolve_device("auto") == torch.device(kind)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_an_available_device_can_be_chosen_by_name(
    simulate: Callable[..., None], name: str
) -> None:
    simulate("cuda", 2)
    assert resolve_device(name) == torch.device(name)


@pytest.mark.usefixtures("simulate")
@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "CPU", "/dev/nvidia0"])
def test_an_invalid_name_is_an_error(name: str) -> None:
    with pytest.raises(ArgumentError, match="not a device name") as caught:
        resolve_device(name)
    assert caught.value.message.startswith(f"--device {name}: ")
    assert "auto" in caught.value.hint


@pytest.mark.usefixtures("simulate")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_missing_device_is_an_error(name: str) -> None:
    with pytest.raises(DeviceError, match=f"{name}: this machine has no such device") as caught:
        resolve_device(name)
    assert caught.value.hint == "Use auto or cpu"


def test_the_wrong_kind_of_accelerator_is_an_error(simulate: Callable[..., None]) -> None:
    simulate("cuda", 1)
    with pytest.raises(DeviceError, match="mps: this machine has no such device") as caught:
        resolve_device("mps")
    assert caught.value.hint == "Use auto or cuda"


def test_a_device_number_that_is_too_high_is_an_error(simulate: Callable[..., None]) -> None:
    simulate("cuda", 2)
    with pytest.raises(
        DeviceError, match="cuda:2: this machine has only 2 of these, numbered from 0"
    ):
        resolve_device("cuda:2")


def test_free_bytes_are_read_for_the_given_accelerator(
    simulate: Callable[..., None],
) -> None:
    simulate("cuda", 2)
    assert free_bytes(torch.device("cuda:0")) == FREE
    assert free_bytes(torch.device("cuda:1")) == FREE + 1


def test_memory_cached_by_torch_counts_as_free(
    simulate: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate("cuda", 2)
    monkeypatch.setattr(torch.accelerator, "memory_reserved", lambda device: 5000 + device.index)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", lambda device: 2000)
    assert free_bytes(torch.device("cuda:1")) == FREE + 1 + 3001


def test_free_bytes_have_a_default_if_torch_cannot_tell(
    simulate: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for MPS in some versions of torch.
    simulate("mps", 1)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", no_memory_info)
    assert free_bytes(torch.device("mps")) == ASSUMED_FREE


def test_free_bytes_of_the_cpu_include_the_file_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    4000 kB\n")
    monkeypatch.setattr(devices, "_MEMINFO", meminfo)
    monkeypatch.setattr(devices, "_CGROUPS", tmp_path / "cgroup")
    assert free_bytes(torch.device("cpu")) == 4_096_000


def test_free_bytes_of_the_cpu_have_a_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_MEMINFO", tmp_path / "meminfo")
    assert free_bytes(torch.device("cpu")) == ASSUMED_FREE


@pytest.mark.parametrize(
    ("membership", "folder", "names"),
    [
        ("0::/pod/job\n", "pod", ("memory.max", "memory.current", "inactive_file")),
        (
            "3:cpuset:/\n5:memory:/pod/job\n0::/\n",
            "memory/pod",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_a_container_has_no_more_memory_than_its_limit_leaves(
    membership: str,
    folder: str,
    names: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "cgroup").write_text(membership)
    group = tmp_path / folder
    group.mkdir(parents=True)
    limit, usage, cache = names
    # The files of the process's own group aren't there: the limit is that of the group above.
    (group / usage).write_text("5000\n")
    (group / "memory.stat").write_text(f"anon 1\n{cache} 300\n")
    (tmp_path / "meminfo").write_text("MemAvailable:    4000 kB\n")
    monkeypatch.setattr(devices, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(devices, "_CGROUP_ROOT", tmp_path)
    monkeypatch.setattr(devices, "_MEMINFO", tmp_path / "meminfo")
    free = 4_096_000
    for content, expected in (("max", free), ("9000", 4300), ("5000000000", free), ("10", 0)):
        (group / limit).write_text(content + "\n")
        devices._limited_groups.cache_clear()
        assert free_bytes(torch.device("cpu")) == expected


@pytest.mark.parametrize("name", ["cuda", "cuda:2", "mps"])
def test_a_missing_device_can_be_replaced_with_a_warning(
    simulate: Callable[..., None], name: str
) -> None:
    simulate("cuda", 2) if name == "cuda:2" else simulate()
    best = "cuda" if name == "cuda:2" else "cpu"
    with pytest.warns(DeviceWarning, match=f"{name}: this machine has .*; the encoder runs on"):
        assert resolve_device(name, replace_missing=True) == torch.device(best)
    with pytest.raises(DeviceError, match="not a device name"):
        resolve_device("gpu", replace_missing=True)


def test_workers_take_turns_with_the_devices(
    simulate: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate("cuda", 2)
    assert share_devices(torch.device("cuda")) == torch.device("cuda")
    found = []
    for place in (1, 2, 3):
        monkeypatch.setattr(multiprocessing.current_process(), "_identity", (place,))
        found.append(str(share_devices(torch.device("cuda"))))
    assert found == ["cuda:0", "cuda:1", "cuda:0"]
    assert share_devices(torch.device("cuda:1")) == torch.device("cuda:1")
    assert share_devices(torch.device("cpu")) == torch.device("cpu")


def test_a_process_that_has_used_a_gpu_can_not_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "has_cupy_gpu", False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert can_fork()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not can_fork()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(devices, "has_cupy_gpu", True)
    assert not can_fork()


def test_free_bytes_of_this_machine_are_plausible() -> None:
    assert 0 < free_bytes(torch.device("cpu")) < 2**50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_freed_memory_is_returned_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # Small enough to be allocated on the heap, with gaps between the blocks that are kept.
    blocks = [b"x" * 50_000 + bytes([n % 256]) for n in range(2000)]
    kept = blocks[::2]
    del blocks
    before = resident()
    trim_heap()
    assert resident() < before - 30_000_000
    assert len(kept) == 1000


@pytest.mark.parametrize(
    ("system", "is_opened"), [("darwin", False), ("win32", False), ("linux", True)]
)
def test_other_c_libraries_are_not_trimmed(
    monkeypatch: pytest.MonkeyPatch, system: str, is_opened: bool
) -> None:
    opened: list[None] = []
    # Like musl, a library without the function.
    monkeypatch.setattr(devices.ctypes, "CDLL", opened.append)
    monkeypatch.setattr(sys, "platform", system)
    devices._malloc_trim.cache_clear()
    try:
        trim_heap()
        trim_heap()
    finally:
        devices._malloc_trim.cache_clear()
    assert opened == ([None] if is_opened else [])


def test_unused_memory_of_an_accelerator_is_released(
    simulate: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate("cuda", 1)
    emptied: list[bool] = []
    monkeypatch.setattr(torch.accelerator, "empty_cache", lambda: emptied.append(True))
    module = torch.nn.Linear(2, 2)
    module.itself = [module]
    weight = weakref.ref(module.weight)
    del module
    release_unused(torch.device("cpu"))
    assert not emptied
    release_unused(torch.device("cuda"))
    assert emptied
    assert weight() is None


def test_the_installed_version_is_found() -> None:
    assert installed_version("spacy") == version("spacy")
    assert installed_version("no-such-distribution") is None


def test_peak_memory_never_falls() -> None:
    before = peak_bytes()
    if before is None:
        assert platform.system() != "Linux"
        return
    size = before + 50_000_000
    assert torch.ones(size // 4).numel()
    after = peak_bytes()
    assert after is not None and after >= size
    assert peak_bytes() == after


def test_peak_memory_is_none_if_the_system_does_not_report_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_STATUS", tmp_path / "status")
    assert peak_bytes() is None
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t1 kB\n")
    assert peak_bytes() is None
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\n")
    assert peak_bytes() == 2048 * 1024
