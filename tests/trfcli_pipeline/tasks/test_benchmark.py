import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language

from trfcli_pipeline.errors import ArgumentError, DeviceError, PipelineError
from trfcli_pipeline.tasks import worker_pool
from trfcli_pipeline.tasks.benchmark import Benchmark, Spread, benchmark
from trfcli_pipeline.tasks.speed import Measurement

TEXTS = ["I love this film. It is great fun!", "I hate this film;\n it is a bore.", ""] * 3
N_WORDS = 3 * (10 + 10)

MEASUREMENT = Measurement(
    n_texts=4,
    n_words=100,
    device="cpu",
    threads=2,
    batch_size=8,
    seconds=2.0,
    load_seconds=1.0,
    start_seconds=3.0,
    peak_bytes=500_000_000,
    parts={"tokenizer": 0.5, "trf_wordpiecer": 0.5, "trf_tok2vec": 1.0},
    work={"wordpieces": 0.25, "encoder": 0.75, "bookkeeping": 0.5},
)


@pytest.fixture
def model(make_nlp: Callable[..., Language], tmp_path: Path) -> str:
    nlp = make_nlp()
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True}).add_label("A")
    nlp.get_pipe("trf_textcat").add_label("B")
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> str:
    lines = "".join(f"{json.dumps({'text': text})}\n" for text in TEXTS)
    (tmp_path / "texts.jsonl").write_text(lines)
    return str(tmp_path / "texts.jsonl")


def test_pipelines_are_measured_in_new_processes(model: str, data: str) -> None:
    [found] = benchmark([model], data, rounds=1, batch_size=2)
    assert found.n_words == N_WORDS
    assert found.start_seconds is not None
    # Python and the modules come first.
    assert found.start_seconds > found.load_seconds + 0.1


def test_each_round_measures_every_pipeline(
    model: str, data: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other").symlink_to(model)
    monkeypatch.setattr(worker_pool, "run_apart", lambda function, model: model)
    models = [model, str(tmp_path / "other")]
    assert list(benchmark(models, data, rounds=3)) == models * 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "toaster"}, ArgumentError),
        ({}, PipelineError),
    ],
)
def test_unusable_arguments_are_refused_before_any_measurement(
    model: str, options: dict[str, str], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        worker_pool, "run_apart", lambda function, model: pytest.fail("started a process")
    )
    models = [model] if options else [model, "nowhere"]
    with pytest.raises(error):
        next(benchmark(models, **options))


def test_only_the_first_texts_are_used(
    model: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_apart(function: Any, model: str) -> list[str]:
        texts: list[str] = function.keywords["texts"]
        return texts

    monkeypatch.setattr(worker_pool, "run_apart", run_apart)
    assert list(benchmark([model], data, max_texts=2, rounds=1)) == [TEXTS[:2]]


def test_metrics_are_medians_and_ranges() -> None:
    rounds = [replace(MEASUREMENT, seconds=seconds) for seconds in (4.0, 1.0, 2.0)]
    metrics = Benchmark("a", rounds).metrics()
    assert metrics["words_per_second"] == Spread(50, 25, 100)
    assert metrics["texts_per_second"] == Spread(2, 1, 4)
    assert metrics["load_seconds"] == Spread(1, 1, 1)
    assert metrics["peak_megabytes"] == Spread(500, 500, 500)


def test_unknown_metrics_are_left_out() -> None:
    metrics = Benchmark("a", [replace(MEASUREMENT, peak_bytes=None, start_seconds=None)]).metrics()
    assert list(metrics) == ["words_per_second", "texts_per_second", "load_seconds"]


def test_ratios_are_of_the_medians() -> None:
    a = Benchmark("a", [MEASUREMENT])
    b = Benchmark("b", [replace(MEASUREMENT, seconds=8.0, peak_bytes=None)])
    assert a.ratios(b) == {
        "words_per_second": 4,
        "texts_per_second": 4,
        "load_seconds": 1,
        "start_seconds": 1,
    }


def test_json_has_medians_and_ranges() -> None:
    found = Benchmark("a", [MEASUREMENT, replace(MEASUREMENT, seconds=4.0)]).as_json()
    assert json.loads(json.dumps(found)) == found
    assert (found["model"], found["rounds"], found["n_words"]) == ("a", 2, 100)
    assert found["words_per_second"] == {"median": 37.5, "lowest": 25, "highest": 50}
    assert found["part_seconds"]["tokenizer"]["median"] == 0.5
    assert found["work_seconds"]["bookkeeping"]["median"] == 0.5


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_median_is_within_the_range(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.lowest <= spread.median <= spread.highest
    assert {spread.lowest, spread.highest} <= set(values)
