"""Where the workers of `annotate` run: on this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal

from trfcli_pipeline.pipeline.processes import forks_work
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor
from trfcli_pipeline.tasks.ray_workers import start_ray_workers
from trfcli_pipeline.tasks.worker_pool import start_workers

Engine = Literal["local", "ray"]


def start_engine(
    predictor: Predictor, engine: Engine, n_process: int | None, *, device: str
) -> AbstractContextManager[Callable[[Iterable[Batch]], Iterator[Predicted]]]:
    """Start workers; see `worker_pool.start_workers` and `ray_workers.start_ray_workers`."""
    if engine == "ray":
        return start_ray_workers(predictor, n_process, device=device)
    return start_workers(predictor, n_process or 1, fork=forks_work(predictor.nlp))
