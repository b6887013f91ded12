"""Worker processes that share memory, and return results in order."""

import gc
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import torch

from trfcli_pipeline.errors import PipelineError, TrfError, one_line
from trfcli_pipeline.pipeline.user_code import CodeFiles, explain_code

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items per worker that are being processed, or whose results wait for a slower one before them.
PENDING = 4


@contextmanager
def start_workers(
    function: Callable[[Item], Result], number: int, *, fork: bool
) -> Iterator[Callable[[Iterable[Item]], Iterator[Result]]]:
    """Start worker processes that apply a function to items.

    Forks of this process share memory with it that neither changes, such as a model's weights.
    Other workers are new processes that receive the pickled function. Each worker computes with one
    thread, or on its own accelerator if there are several.

    Leaving the `with` block terminates the workers. They also end when this process does, even if
    it is killed. They ignore Ctrl-C, which this process handles.

    Args:
        function: The function. Its results must be picklable.
        number: Number of processes. With 1, this process does the work.
        fork: Whether workers are forks.

    Yields:
        A function like `map`, which returns the results in order. It consumes items only as workers
        become free, so their stream may be endless.

    Raises:
        PipelineError: A worker was killed, or the function raised an exception other than a
            `TrfError` in a worker. An exception is raised after the results before it.
    """
    if number == 1:
        yield partial(map, function)
        return
    method = "fork" if fork else "spawn"
    with _executor(number, method, _start_worker, function) as executor:

        def submit(item: Item) -> Future[Result]:
            return executor.submit(_apply, item)

        yield partial(map_in_order, submit, PENDING * number)


def run_apart(function: Callable[[Item], Result], item: Item) -> Result:
    """Apply a function to an item in a new process, which shares no memory with this one.

    Function, item and result must be picklable.

    Raises:
        PipelineError: As for `start_workers`.
    """
    with _executor(1, "spawn", _start, function) as executor:
        return executor.submit(_apply, item).result()


@contextmanager
def _executor(
    number: int, method: str, start: Callable[..., None], function: Callable[[Any], Any]
) -> Iterator[ProcessPoolExecutor]:
    others = {*multiprocessing.active_children()}
    context = multiprocessing.get_context(method)
    # A new process unpickles the user's code first, then the function, which may need it.
    executor = ProcessPoolExecutor(number, context, start, (CodeFiles(), function))
    # The garbage collector writes to every object it visits, which unshares its memory page. It
    # doesn't visit frozen objects.
    gc.collect()
    gc.freeze()
    try:
        with warnings.catch_warnings():
            # "multi-threaded ... may lead to deadlocks": workers don't use torch's threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            # The first task starts the processes.
            executor.submit(os.getpid)
        yield executor
    except BrokenProcessPool as error:
        raise PipelineError(
            "A worker process was killed", hint="If memory ran out, use fewer processes or texts"
        ) from error
    finally:
        gc.unfreeze()
        for process in {*multiprocessing.active_children()} - others:
            process.terminate()
        executor.shutdown(cancel_futures=True)


def map_in_order(
    submit: Callable[[Item], Future[Result]], limit: int, items: Iterable[Item]
) -> Iterator[Result]:
    """Yield the results of items in order, with at most `limit` items submitted ahead."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(submit(item))
        while pending and (pending[0].done() or len(pending) >= limit):
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _start_worker(code: CodeFiles, function: Callable[[Any], Any]) -> None:
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _start(code, function)


def _start(code: CodeFiles, function: Callable[[Any], Any]) -> None:
    global _function  # noqa: PLW0603 - a worker has only one function
    _function = function
    # The collector would look through all of torch and spaCy every few hundred Docs.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


_function: Callable[[Any], Any]


def _apply(item: Any) -> Any:
    try:
        return _function(item)
    except TrfError:
        raise
    except Exception as error:
        # Exceptions of other libraries may not be picklable.
        raise explain_code(error) or PipelineError(one_line(error)) from None
