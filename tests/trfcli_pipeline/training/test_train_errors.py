"""Errors before and during training, which leave the model unchanged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from directories import snapshot
from trainings import QUICK, hidden, rows, write

from trfcli_pipeline.errors import ArgumentError, DataError, OutputError, PipelineError, TrfError
from trfcli_pipeline.evaluation.run import PredictionOutput
from trfcli_pipeline.training import trainer
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.events import Checkpointed, Evaluated, Planned, Stepped, TrainingEvent
from trfcli_pipeline.training.train import train_textcat


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("kind", [Planned, Stepped, Evaluated, Checkpointed])
def test_interruption_leaves_the_model_unchanged(
    model: Path, data: str, error: type[BaseException], kind: type[TrainingEvent]
) -> None:
    before = snapshot(model)
    events = train_textcat(str(model), data, arguments=QUICK)
    while not isinstance(next(events), kind):
        pass
    with pytest.raises(error):
        events.throw(error)
    assert snapshot(model) == before
    beside = {hidden(model)} if kind is Checkpointed else set()
    assert set(model.parent.iterdir()) == {model} | beside


def test_error_during_training_leaves_the_model_unchanged(
    model: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(model)
    predict = trainer.predict_texts
    calls = 0

    def fail_later(*args: Any, **kwargs: Any) -> PredictionOutput:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise MemoryError
        return predict(*args, **kwargs)

    monkeypatch.setattr(trainer, "predict_texts", fail_later)
    with pytest.raises(MemoryError):
        list(train_textcat(str(model), data, arguments=QUICK))
    assert calls == 2
    assert snapshot(model) == before


def test_labels_only_in_the_dev_set_are_an_error(model: Path, data: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "DOG"))
    before = snapshot(model)
    with pytest.raises(DataError, match=r"dev\.jsonl: 1 label is not .*DOG \(line 21\)"):
        next(train_textcat(str(model), data, dev=dev, arguments=QUICK))
    assert snapshot(model) == before
    assert list(model.parent.iterdir()) == [model]


def _file(path: Path) -> str:
    path.touch()
    return str(path)


def _photos(path: Path) -> Path:
    path.mkdir()
    (path / "one.jpg").touch()
    return path


def _without_encoder(path: Path) -> str:
    spacy.blank("xx").to_disk(path)
    return str(path)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (PipelineError, "no such directory", lambda t: {"model": str(t / "absent")}),
        (PipelineError, "is a file", lambda t: {"model": _file(t / "file")}),
        (PipelineError, "no trf_tok2vec", lambda t: {"model": _without_encoder(t / "blank")}),
        (OutputError, "is a file", lambda t: {"output": Path(_file(t / "file"))}),
        (OutputError, "is not a spaCy pipeline", lambda t: {"output": _photos(t / "photos")}),
        (
            DataError,
            "no such file|can't be read|not found",
            lambda t: {"train": str(t / "a.jsonl")},
        ),
        (
            DataError,
            "all texts have the same label, A",
            lambda t: {"train": write(t / "a.jsonl", [{"text": "a", "label": "A"}])},
        ),
        (
            DataError,
            "too few texts",
            lambda t: {"train": write(t / "a.jsonl", [{"text": x, "label": x} for x in "AB"])},
        ),
        (
            ArgumentError,
            "--device abacus",
            lambda t: {"arguments": TrainingArguments(device="abacus")},
        ),
        (
            DataError,
            "no such file",
            lambda t: {"arguments": TrainingArguments(config=t / "absent.cfg")},
        ),
        (
            ArgumentError,
            "--architecture cnn: unknown value\nUse one of: softmax_last_hidden",
            lambda t: {"arguments": TrainingArguments(architecture="cnn")},
        ),
        (
            ArgumentError,
            "--segments words: unknown value\nUse one of: sentences, doc, windows",
            lambda t: {"arguments": TrainingArguments(segments="words")},
        ),
        (
            DataError,
            r"a\.jsonl: no text has a label",
            lambda t: {
                "train": write(t / "a.jsonl", [{"text": str(n), "labels": []} for n in range(20)]),
                "arguments": TrainingArguments(exclusive=True),
            },
        ),
        (
            DataError,
            r"a\.jsonl, line 1: no labels, but every text should have exactly one",
            lambda t: {
                "train": write(
                    t / "a.jsonl",
                    [{"text": str(n), "labels": ["A", "B"][:n][-1:]} for n in range(20)],
                ),
                "arguments": TrainingArguments(exclusive=True),
            },
        ),
    ],
)
def test_unusable_input_is_an_error_before_the_first_step(
    model: Path,
    data: str,
    tmp_path: Path,
    error: type[TrfError],
    message: str,
    make: Callable[[Path], dict[str, Any]],
) -> None:
    arguments = {"model": str(model), "train": data, **make(tmp_path)}
    before = snapshot(tmp_path)
    with pytest.raises(error, match=message):
        next(train_textcat(**arguments))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[training.batcher]", "[training.butcher]", "lacks 'batcher'"),
        ("[components.trf_textcat]", "[components.textcat]", "lacks 'trf_textcat'"),
        ("max_epochs = 3", "", "lacks 'max_epochs'"),
        ("dropout = 0.0", 'dropout = "low"', "dropout: .*number"),
        ("grad_clip = 1.0", "grad_clap = 1.0", r"optimizer\.grad_clap: unexpected argument"),
        ("trfcli.AdamW.v1", "trfcli.AdamZ.v1", "AdamZ"),
        ("${training.max_steps}", "${training.mix_steps}", "mix_steps"),
        ("[paths]", "", r"a\.cfg, line 10: not valid in a config file"),
    ],
)
def test_unusable_config_is_an_error(
    model: Path, data: str, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = config_path("textcat.cfg").read_text()
    assert old in text
    path = tmp_path / "a.cfg"
    path.write_text(text.replace(old, new))
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        next(train_textcat(str(model), data, arguments=TrainingArguments(config=path)))
    assert caught.value.message.startswith((f"{path}: ", f"{path}, line "))
    assert "\n" not in caught.value.message
    assert snapshot(tmp_path) == before
