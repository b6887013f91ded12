import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dies_once
import pytest
import torch
from fake_ray import FakeRay, install

from trfcli_pipeline.encoder import devices
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.tasks.ray_workers import start_ray_workers


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """A cluster with four cores, in this process."""
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return install(monkeypatch, CPU=4.0)


def square(number: int) -> int:
    return number * number


def fail_on_three(number: int) -> int:
    if number == 3:
        raise DataError("three", hint="Take four")
    return number


def fail_strangely(number: int) -> int:
    raise KeyError(number)


class ChosenDevice:
    """Remembers the device that was in force when it was unpickled."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __reduce__(self) -> tuple[Any, ...]:
        return _choose, ()

    def __call__(self, _: int) -> str:
        return self.device


def _choose() -> ChosenDevice:
    return ChosenDevice(devices.chosen_device("auto"))


def run(function: Callable[[int], Any], number: int | None = 2, device: str = "cpu") -> list[Any]:
    with start_ray_workers(function, number, device=device) as work:
        return list(work(range(10)))


def test_results_are_in_order_and_the_cluster_is_left(cluster: FakeRay) -> None:
    assert run(square) == [each * each for each in range(10)]
    assert (cluster.starts, cluster.killed, cluster.is_running) == (2, 2, False)
    cluster.is_running = True
    run(square)
    # It isn't ours.
    assert cluster.is_running


def test_what_a_killed_worker_had_is_done_again(cluster: FakeRay) -> None:
    cluster.kills = 3
    assert run(square) == [each * each for each in range(10)]
    assert cluster.starts == 2 + 3
    cluster.kills = 4
    with pytest.raises(PipelineError, match="killed 4 times by the same texts"):
        run(square)
    assert not cluster.is_running


@pytest.mark.parametrize(
    ("resources", "number", "device", "n_workers", "n_gpus"),
    [
        ({"CPU": 4.0}, None, "auto", 4, 0),
        ({"CPU": 8.0, "GPU": 2.0}, None, "auto", 2, 1),
        ({"CPU": 8.0, "GPU": 2.0}, 8, "auto", 8, 0.25),
        ({"CPU": 8.0, "GPU": 2.0}, 1, "auto", 1, 1),
        ({"CPU": 8.0, "GPU": 2.0}, None, "cpu", 8, 0),
    ],
)
def test_workers_share_the_gpus(
    cluster: FakeRay,
    resources: dict[str, float],
    number: int | None,
    device: str,
    n_workers: int,
    n_gpus: float,
) -> None:
    cluster.resources = resources
    # Ray lets each see its own GPU only, whatever the device of the pipeline here.
    assert run(ChosenDevice("here"), number, device) == [device] * 10
    assert cluster.starts == n_workers
    assert cluster.options[0]["num_gpus"] == n_gpus


@pytest.mark.usefixtures("cluster")
def test_errors_come_after_the_results_before_them() -> None:
    with start_ray_workers(fail_on_three, 2, device="cpu") as work:
        results = work(range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError, match="three") as caught:
            next(results)
    assert caught.value.hint == "Take four"
    with pytest.raises(PipelineError, match="KeyError: 0"):
        run(fail_strangely)


def test_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PipelineError, match="needs Ray, which isn't installed") as caught:
        run(square)
    assert caught.value.hint == 'pip install "trfcli[ray]"'


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't installed")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::ResourceWarning")
def test_killed_worker_of_a_real_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its workers import the function.
    monkeypatch.setenv("PYTHONPATH", str(Path(dies_once.__file__).parent))
    assert run(dies_once.DiesOnce(tmp_path / "killed")) == [each * each for each in range(10)]
    assert (tmp_path / "killed").exists()
