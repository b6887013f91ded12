from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.encoder.devices import resolve_device
from trfcli_pipeline.tasks import speed
from trfcli_pipeline.tasks.speed import (
    Stopwatch,
    measure_parts,
    measure_pipeline,
    predict_in_turns,
)
from trfcli_pipeline.tokenization import doc_pieces

TEXTS = ["I love this film. It is great fun!", "I hate this film;\n it is a bore.", ""] * 3
N_WORDS = 3 * (10 + 10)


class Clock:
    """A clock that only moves when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=CLOCK))
    return CLOCK


@Language.component("test_speed_slow")
def slow(doc: Doc) -> Doc:
    CLOCK.now += 10
    return doc


@pytest.fixture
def model(make_nlp: Callable[..., Language], tmp_path: Path) -> str:
    nlp = make_nlp()
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True}).add_label("A")
    nlp.get_pipe("trf_textcat").add_label("B")
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_measurement_of_a_pipeline_and_its_parts(model: str) -> None:
    measured = measure_pipeline(model, TEXTS, batch_size=4)
    assert (measured.n_texts, measured.n_words) == (9, N_WORDS)
    assert (measured.device, measured.batch_size) == (str(resolve_device()), 4)
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


def test_default_batch_size_is_the_pipelines(model: str) -> None:
    config = Path(model) / "config.cfg"
    config.write_text(config.read_text().replace("batch_size = 1000", "batch_size = 3"))
    assert measure_pipeline(model, TEXTS).batch_size == 3


@pytest.mark.usefixtures("clock")
def test_time_is_attributed_to_the_component_that_took_it() -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("test_speed_slow")
    parts, work = measure_parts(nlp, TEXTS, batch_size=4)
    assert parts == {"tokenizer": 0, "sentencizer": 0, "test_speed_slow": 10 * len(TEXTS)}
    # The pipeline has neither wordpiecer nor encoder.
    assert work == {}


def test_measuring_restores_the_timed_functions(nlp: Language) -> None:
    shim = nlp.get_pipe("trf_tok2vec").model.shim  # type: ignore[attr-defined]
    encode, attributes = doc_pieces.encode, vars(shim).keys() | set()
    measure_parts(nlp, TEXTS, batch_size=4)
    assert doc_pieces.encode is encode
    assert vars(shim).keys() == attributes


def test_stopwatch_counts_overlapping_blocks_once(clock: Clock) -> None:
    watch = Stopwatch(torch.device("cpu"))
    first, second = ExitStack(), ExitStack()
    first.enter_context(watch)
    clock.now += 1
    second.enter_context(watch)
    clock.now += 1
    first.close()
    clock.now += 1
    second.close()
    clock.now += 100
    with watch:
        clock.now += 1
    assert watch.seconds == 4


@pytest.mark.parametrize(("name", "waits"), [("cpu", False), ("cuda:1", True)])
def test_stopwatch_waits_for_its_own_device_only(
    monkeypatch: pytest.MonkeyPatch, name: str, waits: bool
) -> None:
    """On a CPU, waiting for a GPU would first start CUDA, which takes a second."""
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    with Stopwatch(torch.device(name)):
        assert not waited
    assert waited == ([torch.device(name)] if waits else [])


def test_pipelines_take_turns_on_the_same_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_TEXTS_PER_TURN", 4)
    monkeypatch.setattr(speed, "_WARM_UP_TEXTS", 1)
    seen: list[tuple[str, str]] = []

    def recorder(name: str) -> Language:
        nlp = spacy.blank("xx")
        make_doc = nlp.make_doc

        def record(text: str) -> Doc:
            seen.append((name, text))
            return make_doc(text)

        monkeypatch.setattr(nlp, "make_doc", record)
        return nlp

    texts = [str(number) for number in range(6)]
    turns = list(predict_in_turns([recorder("a"), recorder("b")], texts))
    assert seen == [
        *(("a", "0"), ("b", "0")),
        *(("a", text) for text in texts[:4]),
        *(("b", text) for text in texts[:4]),
        *(("a", text) for text in texts[4:]),
        *(("b", text) for text in texts[4:]),
    ]
    assert [[len(docs) for _, docs in turn] for turn in turns] == [[4, 4], [2, 2]]
    assert sum(prediction.n_words for turn in turns for prediction, _ in turn) == 12
    assert all(prediction.seconds > 0 for turn in turns for prediction, _ in turn)
