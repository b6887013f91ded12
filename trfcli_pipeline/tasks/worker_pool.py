"""Worker processes that share memory, and return results in order."""

import gc
import multiprocessing
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch

from trfcli_pipeline.errors import PipelineError, TrfError, one_line

Item = TypeVar("Item")
Result = TypeVar("Result")

# Results per worker that may wait for a slower one before them.
_WAITING = 4


class _Failure(NamedTuple):
    message: str
    hint: str | None


class Workers(Generic[Item, Result]):
    """Worker processes that apply a function to items, for use in a `with` statement.

    On Linux, workers are forks of this process and share memory with it that neither changes, such
    as a model's weights. On macOS, where forks aren't safe, and on Windows, they are new processes
    that receive the pickled function. Each worker computes with one thread.

    Leaving the `with` block terminates the workers. They also end when this process does, even if
    it is killed. They ignore Ctrl-C, which this process handles.

    Args:
        function: The function. Its results must be picklable.
        number: Number of processes. With 1, this process does the work.
        start_method: "fork" or "spawn". Default: "fork" on Linux, otherwise "spawn".
    """

    def __init__(
        self, function: Callable[[Item], Result], number: int, *, start_method: str | None = None
    ) -> None:
        self.function = function
        self.number = number
        self.start_method = start_method or ("fork" if sys.platform == "linux" else "spawn")
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        if self.number == 1:
            return self
        # The garbage collector writes to every object it visits, which unshares its memory page.
        # It doesn't visit frozen objects.
        gc.collect()
        gc.freeze()
        try:
            for _ in range(self.number):
                self._start()
        except BaseException:
            self._end()
            raise
        finally:
            gc.unfreeze()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Apply the function to each item, and yield the results in order.

        Items are consumed only as workers become free, so the stream may be endless.

        Raises:
            PipelineError: A worker was killed, or the function raised an exception in a worker. An
                exception is raised in its turn, after the results before it.
        """
        if self.number == 1:
            yield from map(self.function, items)
            return
        queue = enumerate(items)
        idle = list(self._processes)
        busy: dict[Connection, int] = {}
        results: dict[int, Result | _Failure] = {}
        delivered = 0
        exhausted = False
        while True:
            while idle and not exhausted and len(busy) + len(results) < _WAITING * self.number:
                try:
                    number, item = next(queue)
                except StopIteration:
                    exhausted = True
                    break
                connection = idle.pop()
                busy[connection] = number
                self._send(connection, item)
            while delivered in results:
                result = results.pop(delivered)
                if isinstance(result, _Failure):
                    raise PipelineError(result.message, hint=result.hint)
                yield result
                delivered += 1
            if exhausted and not busy:
                return
            # No worker is busy if the slow result that all others waited for has just come.
            for ready in wait(list(busy)) if busy else ():
                connection = next(each for each in busy if each is ready)
                results[busy.pop(connection)] = self._receive(connection)
                idle.append(connection)

    def _end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for connection, process in self._processes.items():
            process.join()
            connection.close()
        self._processes.clear()

    def _start(self) -> None:
        context: Any = multiprocessing.get_context(self.start_method)
        ours, theirs = context.Pipe()
        # A fork inherits the connections of the other workers and must close them: while any
        # process has one open, the worker at its other end doesn't notice that this process ended.
        inherited = [*self._processes, ours] if self.start_method == "fork" else []
        process = context.Process(
            target=_work, args=(self.function, theirs, inherited), daemon=True
        )
        with warnings.catch_warnings():
            # "multi-threaded ... may lead to deadlocks": workers don't use torch's threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self._processes[ours] = process

    def _send(self, connection: Connection, item: Item) -> None:
        try:
            connection.send(item)
        except OSError as error:
            raise self._death(connection) from error

    def _receive(self, connection: Connection) -> Result | _Failure:
        try:
            answer: Result | _Failure = connection.recv()
        except (EOFError, OSError) as error:
            raise self._death(connection) from error
        return answer

    def _death(self, connection: Connection) -> PipelineError:
        return _death(self._processes[connection], hint="If memory ran out, use fewer processes")


def run_apart(function: Callable[[Item], Result], item: Item) -> Result:
    """Apply a function to an item in a new process, which shares no memory with this one.

    Function, item and result must be picklable.

    Raises:
        PipelineError: The process was killed, or the function raised an exception.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work_once, args=(function, item, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        answer: Result | _Failure = ours.recv()
    except EOFError as error:
        raise _death(process, hint="If memory ran out, use fewer texts") from error
    finally:
        process.terminate()
        process.join()
        ours.close()
    if isinstance(answer, _Failure):
        raise PipelineError(answer.message, hint=answer.hint)
    return answer


def _work_once(function: Callable[[Any], Any], item: Any, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.send(_apply(function, item))


def _death(process: BaseProcess, *, hint: str) -> PipelineError:
    process.join()
    code = process.exitcode or 0
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended (code {code})"
    return PipelineError(f"A worker process {how}", hint=hint)


def _work(
    function: Callable[[Any], Any], connection: Connection, inherited: list[Connection]
) -> None:
    """Apply the function to items from the connection until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for each in inherited:
        each.close()
    torch.set_num_threads(1)
    while True:
        try:
            connection.send(_apply(function, connection.recv()))
        except (EOFError, OSError):
            return


def _apply(function: Callable[[Item], Result], item: Item) -> Result | _Failure:
    try:
        return function(item)
    except TrfError as error:
        return _Failure(error.message, error.hint)
    except Exception as error:
        return _Failure(one_line(error), None)
