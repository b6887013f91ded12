import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from own_code import forget_code, write_code

from trfcli_pipeline.encoder.devices import can_fork
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.pipeline import user_code
from trfcli_pipeline.tasks.worker_pool import run_apart, start_workers

CAN_FORK = "fork" in multiprocessing.get_all_start_methods()
FORK = can_fork()


def square(number: int) -> int:
    # Some items take longer than those after them.
    if number % 7 == 0:
        sum(range(500_000))
    return number * number


def threads(_: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def fail_on_three(number: int) -> int:
    if number == 3:
        raise DataError("three", hint="Take four")
    return number


def fail_strangely(_: int) -> int:
    raise KeyError("gone\nmore")


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("number", [1, 2, 3])
def test_results_are_in_order(number: int) -> None:
    with start_workers(square, number, fork=FORK) as run:
        assert list(run(range(100))) == [each * each for each in range(100)]
        assert list(run([])) == []
        assert list(run([5])) == [25]


def test_each_worker_has_one_thread() -> None:
    with start_workers(threads, 2, fork=FORK) as run:
        found = dict(run(range(20)))
    assert os.getpid() not in found
    assert set(found.values()) == {1}


def test_single_worker_is_this_process() -> None:
    with start_workers(threads, 1, fork=FORK) as run:
        assert {pid for pid, _ in run(range(3))} == {os.getpid()}


def test_items_are_consumed_as_workers_become_free() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    with start_workers(square, 2, fork=FORK) as run:
        results = run(endless())
        assert [next(results) for _ in range(30)] == [each * each for each in range(1, 31)]
    assert taken <= 30 + 2 * 4 + 2


def test_error_is_raised_after_the_results_before_it() -> None:
    with start_workers(fail_on_three, 2, fork=FORK) as run:
        results = run(range(100))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DataError) as caught:
            next(results)
    assert (caught.value.message, caught.value.hint) == ("three", "Take four")
    assert not multiprocessing.active_children()


def test_unexpected_error_becomes_one_line() -> None:
    with (
        start_workers(fail_strangely, 2, fork=FORK) as run,
        pytest.raises(PipelineError) as caught,
    ):
        list(run(range(3)))
    assert caught.value.message == r"KeyError: 'gone\nmore'"


def test_killed_worker_is_an_error() -> None:
    with (
        pytest.raises(PipelineError, match="was killed"),
        start_workers(die, 2, fork=FORK) as run,
    ):
        list(run(range(3)))
    assert not multiprocessing.active_children()


def test_leaving_the_block_terminates_busy_workers() -> None:
    start = time.monotonic()
    with start_workers(time.sleep, 2, fork=FORK) as run:
        results = run([0, 60, 60])
        next(results)
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


def work_forever(announcements: Connection) -> None:
    """Keep two workers busy that send their process ids, in a session of their own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def announce(_: int) -> None:
        announcements.send(os.getpid())

    with suppress(KeyboardInterrupt), start_workers(announce, 2, fork=FORK) as run:
        for _ in run(count()):
            pass


@pytest.mark.skipif(not CAN_FORK, reason="the parent process is started by a fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: signal.Signals) -> None:
    context = multiprocessing.get_context("fork")
    heard, announcements = context.Pipe(duplex=False)
    parent = context.Process(target=work_forever, args=(announcements,))
    parent.start()
    announcements.close()
    workers = set()
    while len(workers) < 2:
        assert heard.poll(60)
        workers.add(heard.recv())
    # A terminal sends Ctrl-C to the whole session.
    (os.killpg if how is signal.SIGINT else os.kill)(parent.pid, how)
    parent.join(60)
    assert parent.exitcode == (0 if how is signal.SIGINT else -how)
    with suppress(EOFError):  # raised once no worker has the pipe open
        while heard.poll(60):
            heard.recv()
        pytest.fail("a worker is still running")


def test_run_apart_uses_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_code(monkeypatch)
    user_code.import_code(write_code(tmp_path / "functions.py"))
    assert run_apart(sys.modules["functions"].square, 7) == 49
    pid, n_threads = run_apart(threads, 0)
    assert pid != os.getpid()
    # A single process may use all threads.
    assert n_threads == torch.get_num_threads() or n_threads > 1


def test_run_apart_raises_errors_of_the_process() -> None:
    with pytest.raises(DataError) as raised:
        run_apart(fail_on_three, 3)
    assert (raised.value.message, raised.value.hint) == ("three", "Take four")
    with pytest.raises(PipelineError, match="worker process was killed"):
        run_apart(die, 0)
