import io
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
from textcats import make, set_scores

from trfcli_pipeline.errors import ArgumentError, DataError, PipelineError
from trfcli_pipeline.tasks import predict as task
from trfcli_pipeline.tasks.predict import BlankLine, Prediction, predict
from trfcli_pipeline.tasks.predictions import Batch, Predictor

SCORES = {"FRUIT": 0.6, "DOG": 0.3, "FILM": 0.55}
THRESHOLDS = {"FRUIT": 0.75, "DOG": 0.25, "FILM": 0.5}


@pytest.fixture(scope="module")
def several(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved multi-label classifier."""
    nlp = make(tiny_bert, weights=False, exclusive_classes=False)
    set_scores(nlp, SCORES)
    nlp.get_pipe("trf_textcat").thresholds = {"FRUIT": 0.75, "DOG": 0.25}
    path = tmp_path_factory.mktemp("models") / "several"
    nlp.to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def exclusive(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    nlp = make(tiny_bert, exclusive_classes=True)
    path = tmp_path_factory.mktemp("models") / "exclusive"
    nlp.to_disk(path)
    return str(path)


class Typed(io.RawIOBase):
    """Lines that are typed when they are asked for, a kilobyte at most."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = list(lines)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        line = self.lines.pop(0) if self.lines else b""
        buffer[: len(line)] = line
        return len(line)


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: bytes) -> list[bytes]:
    """Replace stdin; returns the lines that haven't been read."""
    typed = Typed(*lines)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(typed), "utf-8"))
    return typed.lines


def test_stored_thresholds_decide(several: str) -> None:
    (found,) = predict(several, ["a film"])
    assert isinstance(found, Prediction)
    assert found.labels == ["FILM", "DOG"]
    assert list(found.cats) == ["FRUIT", "FILM", "DOG"]
    assert found.thresholds == THRESHOLDS
    assert found.as_json() == {"text": "a film", "labels": ["FILM", "DOG"], "cats": found.cats}
    assert found.as_json(top_k=1)["cats"] == {"FRUIT": pytest.approx(0.6)}
    assert found.as_json(top_k=9) == found.as_json()


def test_another_threshold_replaces_them(several: str) -> None:
    (found,) = predict(several, ["a film"], threshold=0.58)
    assert isinstance(found, Prediction)
    assert found.labels == ["FRUIT"]
    assert found.thresholds == dict.fromkeys(SCORES, 0.58)


def test_exclusive_classes(exclusive: str) -> None:
    (found,) = predict(exclusive, ["a film"])
    assert isinstance(found, Prediction)
    doc = spacy.load(exclusive)("a film")
    best = max(doc.cats, key=doc.cats.__getitem__)
    assert (found.labels, found.thresholds) == ([best], {})
    assert found.cats == pytest.approx(doc.cats)
    assert found.as_json() == {"text": "a film", "label": best, "cats": found.cats}


def test_threshold_is_for_multi_label_classifiers(exclusive: str) -> None:
    with pytest.raises(ArgumentError, match="--threshold is for multi-label classifiers"):
        predict(exclusive, ["a film"], threshold=0.99)


def test_given_texts_are_one_batch(exclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    class Recorder(Predictor):
        def __call__(self, batch: Batch) -> Any:
            batches.append(batch)
            return super().__call__(batch)

    monkeypatch.setattr(task, "Predictor", Recorder)
    found: list[Any] = list(predict(exclusive, ["one", "a lone \ud800", " "]))
    assert [each.text for each in found] == ["one", "a lone \ufffd", " "]
    assert batches == [Batch("", "text", [1, 2, 3], ["one", "a lone \ufffd", " "])]


def test_each_line_of_stdin_is_predicted_when_it_comes(
    exclusive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = type_in(monkeypatch, b"\xef\xbb\xbfone\r\n", b" \n", b"two\n", "drüi".encode())
    found: Any = predict(exclusive, None)
    assert next(found).text == "one"
    assert unread == [b" \n", b"two\n", "drüi".encode()]
    assert next(found) == BlankLine(2)
    assert next(found).text == "two"
    assert len(unread) == 1
    assert [each.text for each in found] == ["drüi"]


def test_bad_line_of_stdin(exclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"one\n", b"caf\xe9\n")
    found = predict(exclusive, None)
    next(found)
    with pytest.raises(DataError) as error:
        next(found)
    assert error.value.message == "stdin, line 2: not valid UTF-8 (0xe9 at byte 4)"
    assert "iconv" in str(error.value.hint)


def test_text_that_is_too_long(exclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 1_000_001
    reason = "the text has 1,000,001 characters, but the pipeline takes at most 1,000,000"
    with pytest.raises(DataError) as error:
        predict(exclusive, ["one", long])
    assert error.value.message == f"text 2: {reason}"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(long.encode()), "utf-8"))
    with pytest.raises(DataError) as error:
        next(predict(exclusive, None))
    assert error.value.message == f"stdin, line 1: {reason}"


def test_closed_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="stdin: closed"):
        predict("there is no such model", None)


def test_pipeline_without_classifier(tmp_path: Path) -> None:
    spacy.blank("xx").to_disk(tmp_path / "blank")
    with pytest.raises(PipelineError) as error:
        predict(str(tmp_path / "blank"), ["a film"])
    assert error.value.message == f"{tmp_path / 'blank'}: has no text classifier"
    assert "trf train-textcat" in str(error.value.hint)


def test_failure_names_the_text(exclusive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def pipe(self: Any, *_: Any, **__: Any) -> Any:
        raise ValueError("too many dogs")

    monkeypatch.setattr("spacy.language.Language.pipe", pipe)
    with pytest.raises(PipelineError, match="text 1: too many dogs"):
        predict(exclusive, ["a dog"])
