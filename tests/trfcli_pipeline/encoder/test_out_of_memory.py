import json
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.encoder.out_of_memory import MemoryGuard, explained_out_of_memory
from trfcli_pipeline.errors import DeviceError


@dataclass(frozen=True)
class Rows:
    """Rows of equal length."""

    rows: list[int]
    length: int = 10

    @property
    def size(self) -> int:
        return len(self.rows) * self.length

    def halve(self) -> list["Rows"]:
        middle = len(self.rows) // 2
        parts = [Rows(self.rows[:middle], self.length), Rows(self.rows[middle:], self.length)]
        return parts if middle else []


class Device:
    """Simulates a device with limited memory, and records the sizes that were tried."""

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.tried: list[int] = []

    def work(self, item: Rows) -> list[int]:
        self.tried.append(item.size)
        if item.size > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return item.rows


@pytest.fixture
def guard() -> MemoryGuard:
    return MemoryGuard(torch.device("cpu"))


@given(st.integers(1, 40), st.integers(10, 500))
def test_all_rows_are_processed_once_and_in_order(n_rows: int, memory: int) -> None:
    guard, device = MemoryGuard(torch.device("cpu")), Device(memory)
    rows = list(range(n_rows))
    results = list(guard.run(device.work, Rows(rows)))
    assert [row for result in results for row in result] == rows
    assert all(results)
    # No size that was too large is tried again.
    too_large = [size for size in device.tried if size > memory]
    assert too_large == sorted(set(too_large), reverse=True)
    assert guard.max_size >= 2 * memory // 5 if too_large else guard.max_size == float("inf")


def test_an_item_that_fits_is_not_halved(guard: MemoryGuard) -> None:
    device = Device(160)
    assert list(guard.run(device.work, Rows(list(range(16))))) == [list(range(16))]
    assert device.tried == [160]


def test_later_items_of_that_size_are_halved_at_once(guard: MemoryGuard) -> None:
    device = Device(50)
    list(guard.run(device.work, Rows(list(range(8)))))
    assert device.tried == [80, 40, 40]
    list(guard.run(device.work, Rows(list(range(8)))))
    assert device.tried[3:] == [40, 40]


def test_memory_is_released_before_an_item_is_halved(guard: MemoryGuard) -> None:
    device = Device(50)
    calls = []

    def release() -> bool:
        calls.append(list(device.tried))
        device.memory = 100
        return True

    assert list(guard.run(device.work, Rows(list(range(8))), release)) == [list(range(8))]
    assert device.tried == [80, 80]
    assert calls == [[80]]
    assert guard.max_size == float("inf")


def test_a_single_segment_that_does_not_fit_is_an_error(guard: MemoryGuard) -> None:
    device = Device(50)
    results = guard.run(device.work, Rows([0, 1], length=60))
    with pytest.raises(DeviceError, match="not enough memory for a segment of 60 wordpieces"):
        list(results)
    assert device.tried == [120, 60]


def test_a_single_segment_is_tried_again_after_memory_was_released(guard: MemoryGuard) -> None:
    device = Device(50)
    graphs = [1]
    with pytest.raises(DeviceError) as caught:
        list(guard.run(device.work, Rows([0], length=60), lambda: bool(graphs and graphs.pop())))
    assert device.tried == [60, 60]
    assert "max_length" in caught.value.hint
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_raised(guard: MemoryGuard) -> None:
    def work(item: Rows) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        list(guard.run(work, Rows([0, 1])))
    assert guard.max_size == float("inf")


def test_what_is_known_about_the_memory_survives_json(
    guard: MemoryGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = MemoryGuard(torch.device("cpu"))
    restored.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert restored.max_size == float("inf")
    list(guard.run(Device(50).work, Rows(list(range(8)))))
    free = [1000, 2000]
    monkeypatch.setattr(
        "trfcli_pipeline.encoder.out_of_memory.free_bytes", lambda device: free.pop(0)
    )
    assert guard.free_bytes() == guard.free_bytes() == 1000
    restored.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert restored.max_size == guard.max_size == 40
    assert restored.free_bytes() == 1000


def test_memory_that_cannot_be_split_is_explained() -> None:
    device = torch.device("cpu")
    with (
        pytest.raises(DeviceError, match="not enough memory for a batch") as error,
        explained_out_of_memory(device),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert "smaller batches" in str(error.value)
    with pytest.raises(RuntimeError, match="size"), explained_out_of_memory(device):
        raise RuntimeError("sizes differ")
