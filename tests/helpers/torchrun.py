"""Run a function in several processes, with the environment that torchrun gives them."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch


def run_in_processes(size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Run a function of a module in other processes.

    Returns: What it returned in each of them, in the order of their ranks.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # With a GPU, torch starts threads for gradients, which forks don't have.
    context = multiprocessing.get_context("spawn" if torch.accelerator.is_available() else "fork")
    processes = []
    for rank in range(size):
        ours, theirs = context.Pipe()
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        process = context.Process(target=_work, args=(theirs, environment, function, args))
        process.start()
        theirs.close()
        processes.append((process, ours))
    try:
        return [ours.recv() for _, ours in processes]
    finally:
        for process, _ in processes:
            process.kill()
            process.join()


def _work(
    results: Any, environment: dict[str, str], function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    # Train in float32, as in the tests themselves.
    torch.cpu.get_capabilities = dict
    results.send(function(*args))
