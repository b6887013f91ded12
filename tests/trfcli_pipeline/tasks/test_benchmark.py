import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.tasks import benchmark as task
from trfcli_pipeline.tasks.benchmark import (
    Benchmark,
    Measurement,
    Spread,
    benchmark,
    measure,
    measure_parts,
)

TEXTS = ["I love this film. It is great fun!", "I hate this film;\n it is a bore.", ""] * 3
N_WORDS = 3 * (10 + 10)

MEASURED = Measurement(
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


@Language.component("test_benchmarking_slow")
def slow(doc: Doc) -> Doc:
    time.sleep(0.01)
    return doc


@pytest.fixture
def model(make_nlp: Callable[..., Language], tmp_path: Path) -> str:
    nlp = make_nlp()
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True}).add_label("A")
    nlp.get_pipe("trf_textcat").add_label("B")
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_measure(model: str) -> None:
    measured = measure(model, TEXTS, batch_size=4)
    assert (measured.n_texts, measured.n_words) == (9, N_WORDS)
    assert (measured.device, measured.batch_size) == ("cpu", 4)
    assert list(measured.parts) == [
        *("tokenizer", "sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat")
    ]
    assert all(seconds > 0 for seconds in measured.parts.values())
    assert all(seconds > 0 for seconds in measured.work.values())
    both = measured.parts["trf_wordpiecer"] + measured.parts["trf_tok2vec"]
    assert sum(measured.work.values()) == pytest.approx(both)
    assert measured.work["wordpieces"] < measured.parts["trf_wordpiecer"]
    assert measured.work["encoder"] < measured.parts["trf_tok2vec"]
    assert measured.start_seconds is None
    assert measured.peak_bytes is None or measured.peak_bytes > 10**7


def test_batch_size_of_the_pipeline(model: str) -> None:
    config = Path(model) / "config.cfg"
    config.write_text(config.read_text().replace("batch_size = 1000", "batch_size = 3"))
    assert measure(model, TEXTS).batch_size == 3


def test_the_slow_part_is_found() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("test_benchmarking_slow")
    parts, work = measure_parts(nlp, TEXTS, batch_size=4)
    assert list(parts) == ["tokenizer", "sentencizer", "test_benchmarking_slow"]
    assert parts["test_benchmarking_slow"] >= 0.01 * len(TEXTS)
    assert parts["tokenizer"] + parts["sentencizer"] < parts["test_benchmarking_slow"]
    # There is neither wordpiecer nor encoder.
    assert work == {}


def test_measuring_leaves_the_pipeline_as_it_was(nlp: Language) -> None:
    states = [dict(vars(part)) for part in (nlp.get_pipe("trf_wordpiecer"), _wrapper(nlp))]
    measure_parts(nlp, TEXTS, batch_size=4)
    for part, state in zip((nlp.get_pipe("trf_wordpiecer"), _wrapper(nlp)), states, strict=True):
        assert vars(part).keys() == state.keys()


def _wrapper(nlp: Language) -> object:
    return nlp.get_pipe("trf_tok2vec").model  # type: ignore[attr-defined]


def test_time_of_several_threads_counts_once() -> None:
    clock = task._Clock()

    def work(_: int) -> None:
        with clock:
            time.sleep(0.1)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert 0.1 <= clock.seconds < 0.2


def test_pipelines_take_turns_in_new_processes(model: str) -> None:
    found = list(benchmark([model, model], TEXTS, rounds=1, batch_size=2))
    assert [each.n_words for each in found] == [N_WORDS, N_WORDS]
    for each in found:
        assert each.start_seconds is not None
        # Python and the modules come first.
        assert each.start_seconds > each.load_seconds + 0.1


def test_order_of_the_rounds(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(model)
    monkeypatch.setattr(task, "run_apart", lambda function, model: model)
    models = [model, str(tmp_path / "other")]
    assert list(benchmark(models, TEXTS, rounds=3)) == models * 3


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "toaster"}, DeviceError),
        ({}, PipelineError),
    ],
)
def test_what_cannot_be_used_shows_before_any_work(
    model: str, options: dict[str, str], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "run_apart", lambda function, model: pytest.fail("worked"))
    models = [model] if options else [model, "nowhere"]
    with pytest.raises(error):
        next(benchmark(models, TEXTS, **options))


def test_figures_are_medians_and_ranges() -> None:
    rounds = [replace(MEASURED, seconds=seconds) for seconds in (4.0, 1.0, 2.0)]
    figures = Benchmark("a", rounds).figures()
    assert figures["words_per_second"] == Spread(50, 25, 100)
    assert figures["texts_per_second"] == Spread(2, 1, 4)
    assert figures["load_seconds"] == Spread(1, 1, 1)
    assert figures["peak_megabytes"] == Spread(500, 500, 500)


def test_figures_that_are_not_known_are_left_out() -> None:
    figures = Benchmark("a", [replace(MEASURED, peak_bytes=None, start_seconds=None)]).figures()
    assert list(figures) == ["words_per_second", "texts_per_second", "load_seconds"]


def test_ratios() -> None:
    a = Benchmark("a", [MEASURED])
    b = Benchmark("b", [replace(MEASURED, seconds=8.0, peak_bytes=None)])
    assert a.ratios(b) == {
        "words_per_second": 4,
        "texts_per_second": 4,
        "load_seconds": 1,
        "start_seconds": 1,
    }


def test_json() -> None:
    found = Benchmark("a", [MEASURED, replace(MEASURED, seconds=4.0)]).as_json()
    assert json.loads(json.dumps(found)) == found
    assert (found["model"], found["rounds"], found["n_words"]) == ("a", 2, 100)
    assert found["words_per_second"] == {"median": 37.5, "lowest": 25, "highest": 50}
    assert found["part_seconds"]["tokenizer"]["median"] == 0.5
    assert found["work_seconds"]["bookkeeping"]["median"] == 0.5


@given(st.lists(st.floats(0.001, 1000), min_size=1))
def test_a_median_is_within_its_range(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread.lowest <= spread.median <= spread.highest
    assert {spread.lowest, spread.highest} <= set(values)
