"""Runs torch on several pieces of work at once, on a CPU.

The matrix products of one small batch can't keep several cores busy: with two cores, two streams of
one thread each do up to 1.4 times the work of one stream with two threads.
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
    # A fork has the state of torch's threads but not the threads, and would wait for them forever.
    # It also shares the machine with other workers. See `torch.utils.data`, which does the same.
    torch.set_num_threads(1)
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread_in_fork)


def count_streams(device: torch.device) -> int:
    """How many pieces of work to run at once: as many as torch has threads, on a CPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def run_streams(
    work: Callable[[Item], Result], items: Sequence[Item], n_streams: int
) -> Iterator[Result]:
    """Do the work for each item, so many at once, each with one thread of torch.

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
            # The number is each thread's own, but new threads start with the one set last.
            started = Barrier(n_threads)
            list(pool.map(_use_one_thread, [started] * n_threads))
            torch.set_num_threads(own)
            _pools[n_threads] = pool
        return _pools[n_threads]


def _use_one_thread(started: Barrier) -> None:
    # A thread sets its number to that of the others when it is first asked, so it is asked first.
    torch.get_num_threads()
    torch.set_num_threads(1)
    # Each thread of the pool has to come this far, so none gets to do this twice.
    started.wait()
