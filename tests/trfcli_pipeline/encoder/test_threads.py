import multiprocessing
import threading
from collections.abc import Iterator

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from trfcli_pipeline.encoder.threads import count_streams, run_streams

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_torch(_: int) -> tuple[str, int]:
    return threading.current_thread().name, torch.get_num_threads()


@pytest.mark.usefixtures("two_threads")
def test_each_stream_uses_one_torch_thread() -> None:
    found = list(run_streams(threads_of_torch, range(50), 2))
    assert len(found) == 50
    assert {number for _, number in found} == {1}
    assert threading.current_thread().name not in {name for name, _ in found}
    # The setting of the caller and of later threads is unchanged.
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


@pytest.mark.usefixtures("two_threads")
def test_results_are_in_the_order_of_the_items() -> None:
    first = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            # Finishes after the second item.
            assert first.wait(timeout=20)
        first.set()
        return item * item

    assert list(run_streams(work, range(20), 2)) == [item * item for item in range(20)]


@pytest.mark.parametrize(("n_items", "n_streams"), [(1, 2), (3, 1)])
def test_a_single_item_or_stream_runs_in_the_callers_thread(n_items: int, n_streams: int) -> None:
    found = {name for name, _ in run_streams(threads_of_torch, range(n_items), n_streams)}
    assert found == {threading.current_thread().name}


@pytest.mark.usefixtures("two_threads")
def test_errors_are_raised_in_the_caller() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise MemoryError("too much")
        return item

    with pytest.raises(MemoryError, match="too much"):
        list(run_streams(work, range(5), 2))
    assert list(run_streams(abs, [-1, -2], 2)) == [1, 2]


@pytest.mark.usefixtures("two_threads")
def test_streams_equal_torch_threads_on_a_cpu() -> None:
    assert count_streams(CPU) == 2
    assert count_streams(torch.device("cuda")) == 1


def _in_a_fork(results: "multiprocessing.Queue[list[int]]") -> None:
    # Large enough for torch to use several threads.
    total = int(torch.ones(1000, 1000).matmul(torch.ones(1000, 1000))[0, 0])
    streams = count_streams(CPU)
    results.put([total, streams, sum(run_streams(abs, [-1, -2], streams))])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_one_stream() -> None:
    list(run_streams(abs, [-1, -2], 2))
    torch.ones(1000, 1000).matmul(torch.ones(1000, 1000))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_in_a_fork, args=(results,))
    process.start()
    assert results.get(timeout=30) == [1000, 1, 3]
    process.join()


def _encode_in_a_fork(tokenizer: Tokenizer, results: "multiprocessing.Queue[int]") -> None:
    results.put(len(tokenizer.encode_batch(["a b", "b"] * 100)))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("value", ["true", "1", None])
def test_tokenizers_do_not_hang_in_a_fork(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    else:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", value)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Starts the threads, which a fork doesn't inherit.
    tokenizer.encode_batch(["a b"] * 100)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_encode_in_a_fork, args=(tokenizer, results))
    process.start()
    try:
        assert results.get(timeout=30) == 200
    finally:
        process.kill()
        process.join()
