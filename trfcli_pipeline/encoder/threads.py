"""Run torch on several sub-batches at once on a CPU.

The matrix products of one small batch can't keep several cores busy. On two cores, two streams
with one thread each do up to 1.4 times the work of one stream with two threads.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def _use_one_thread_in_fork() -> None:
    # A forked process inherits the state of torch's threads but not the threads, and would wait
    # for them forever. It also shares the cores with other workers. `torch.utils.data` does the
    # same.
    torch.set_num_threads(1)
    _pools.clear()
    # tokenizers sees to this itself, but not if this variable has been set.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread_in_fork)


def count_streams(device: torch.device) -> int:
    """Number of sub-batches to run at once: torch's thread count on a CPU, else 1."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def run_streams(
    work: Callable[[Item], Result], items: Sequence[Item], n_streams: int
) -> Iterator[Result]:
    """Run the work for each item in parallel streams, each with one torch thread.

    Yields:
        The results, in the order of the items.
    """
    if n_streams == 1 or len(items) == 1:
        yield from map(work, items)
    else:
        yield from _pool(n_streams).map(work, items)


def _pool(n_threads: int) -> ThreadPoolExecutor:
    with _lock:
        if n_threads not in _pools:
            own = torch.get_num_threads()
            pool = ThreadPoolExecutor(n_threads, thread_name_prefix="encoder")
            # Each thread has its own setting, but a new thread starts with the one set last.
            started = Barrier(n_threads)
            list(pool.map(_use_one_thread, [started] * n_threads))
            torch.set_num_threads(own)
            _pools[n_threads] = pool
        return _pools[n_threads]


def _use_one_thread(started: Barrier) -> None:
    # torch initializes the setting of a thread when the thread first reads it, which would undo
    # ours. So read it first.
    torch.get_num_threads()
    torch.set_num_threads(1)
    # Every thread of the pool has to arrive here, so none runs this function twice.
    started.wait()
