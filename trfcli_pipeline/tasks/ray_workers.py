"""Workers on a Ray cluster, which return results in order.

ray is an optional dependency, so it is imported only inside functions.
"""

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import cycle
from typing import Any, TypeVar, cast

import torch

from trfcli_pipeline.encoder.devices import use_device
from trfcli_pipeline.errors import PipelineError, TrfError, needs_extra, one_line
from trfcli_pipeline.tasks.worker_pool import PENDING, map_in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

# How often an item is tried again after its worker was killed: the item may be the reason.
_RETRIES = 3


@contextmanager
def start_ray_workers(
    function: Callable[[Item], Result], number: int | None, *, device: str
) -> Iterator[Callable[[Iterable[Item]], Iterator[Result]]]:
    """Start workers on a Ray cluster that apply a function to items.

    The cluster is the one of RAY_ADDRESS, or one that runs on this machine, or else a new one that
    has this machine only. Its machines need the same packages, but no files: each worker receives
    the pickled function. What a killed worker was working on is done again, by its successor.

    Args:
        function: The function. It and its results must be picklable.
        number: Number of workers; None for one per GPU, or per CPU core if there are no GPUs.
        device: The device of each worker; see `devices.resolve_device`. "auto" is a GPU of its
            own, or its share of one, if the cluster has any.

    Yields:
        A function like `map`, which returns the results in order. It consumes items only as workers
        become free.

    Raises:
        PipelineError: ray isn't installed, the same items killed several workers, or the function
            raised an exception other than a `TrfError`.
    """
    ray = import_ray()
    is_running = ray.is_initialized()
    if not is_running:
        ray.init(log_to_driver=False, logging_level="ERROR")
    actors: list[Any] = []
    try:
        n_gpus = ray.cluster_resources().get("GPU", 0.0) if device != "cpu" else 0.0
        number = number or int(n_gpus or ray.cluster_resources()["CPU"])
        options = {
            "num_cpus": 1,
            "num_gpus": min(n_gpus / number, 1.0),
            "max_restarts": -1,
            "max_task_retries": _RETRIES,
        }
        worker = ray.remote(**options)(_Worker)
        # In a list, so that Ray passes the reference: a worker that is started again needs it, too.
        pickled = [ray.put(pickle.dumps(function))]
        actors += [worker.remote(pickled, device) for _ in range(number)]
        yield partial(_map, actors)
    finally:
        for actor in actors:
            ray.kill(actor)
        if not is_running:
            ray.shutdown()


def import_ray() -> Any:
    """Import ray, with its usage statistics disabled.

    Raises:
        PipelineError: It isn't installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs_extra("--engine ray needs Ray", "ray", PipelineError):
        import ray
    return ray


class _Worker:
    """An actor of Ray."""

    def __init__(self, pickled: list[Any], device: str) -> None:
        self.pickled = pickled
        self.device = device

    @cached_property
    def function(self) -> Callable[[Any], Any]:
        torch.set_num_threads(1)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        with use_device(self.device):
            return cast(Callable[[Any], Any], pickle.loads(import_ray().get(self.pickled[0])))

    def apply(self, item: Any) -> tuple[Any, TrfError | None]:
        """Return the result or the error: Ray would wrap an exception."""
        try:
            return self.function(item), None
        except TrfError as error:
            return None, error
        except Exception as error:
            return None, PipelineError(one_line(error))


def _map(actors: list[Any], items: Iterable[Any]) -> Iterator[Any]:
    from ray.exceptions import RayActorError

    turns = cycle(actors)

    def submit(item: Any) -> Any:
        return next(turns).apply.remote(item).future()

    try:
        for result, error in map_in_order(submit, PENDING * len(actors), items):
            if error is not None:
                raise error
            yield result
    except RayActorError as error:
        raise PipelineError(
            f"Ray's workers were killed {_RETRIES + 1} times by the same texts",
            hint="If memory ran out, use a smaller --batch-size",
        ) from error
