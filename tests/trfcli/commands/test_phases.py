"""In which phases the work of commands is, for the status line to show."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from trfcli_pipeline import progress
from trfcli_pipeline.progress import Phase

Run = Callable[..., Result]
ROWS = [
    {"text": f"I {verb} film {number}", "label": label}
    for number in range(12)
    for verb, label in (("love", "GOOD"), ("hate", "BAD"))
]


class Recorder(list[Phase]):
    """Remembers all phases that have begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Phase] = []

    def append(self, phase: Phase) -> None:
        self.begun.append(phase)
        super().append(phase)

    @property
    def titles(self) -> list[str]:
        return list(dict.fromkeys(phase.title for phase in self.begun))


def test_each_command_says_what_it_is_doing(
    run: Run, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    Path("encoder").symlink_to(tiny_bert)

    def phases(*args: str) -> Recorder:
        recorder = Recorder()
        monkeypatch.setattr(progress, "_running", recorder)
        result = run(*args)
        assert result.exit_code == 0, result.output
        assert not recorder
        return recorder

    assert phases("init", "encoder", "base").titles == ["Loading encoder", "Saving base"]
    options = ("--epochs", "1", "--batch-size", "11", "--freeze-encoder", "--device", "cpu")
    train = phases("train", "base", "texts.jsonl", "-o", "model", *options)
    assert train.titles == [
        "Checking the texts",
        "Reading texts.jsonl",
        "Loading base",
        "Encoding the texts",
        "Looking for problems in the texts",
        "Training",
        "Evaluating",
        "Saving the model",
        "Saving model",
    ]
    training = next(phase for phase in train.begun if phase.title == "Training")
    assert (training.done, training.total, training.unit) == (2, 2, "steps")
    assert training.note.startswith("loss 0.")
    evaluate = phases("evaluate", "model", "texts.jsonl")
    assert evaluate.titles == [
        "Reading texts.jsonl",
        "Loading model",
        "Predicting",
        "Computing confidence intervals",
    ]
    predicting = evaluate.begun[2]
    assert (predicting.done, predicting.total, predicting.unit) == (24, 24, "texts")
    assert phases("compare", "model", "model", "texts.jsonl").titles == [
        "Reading texts.jsonl",
        "Loading model",
        "Predicting with A (model)",
        "Predicting with B (model)",
        "Computing confidence intervals",
    ]
    assert phases("suggest", "model", "texts.jsonl", "-n", "2").titles == [
        "Loading model",
        "Reading texts.jsonl",
        "Encoding the texts",
        "Choosing texts",
        "Comparing the pool",
    ]
    annotate = phases("annotate", "model", "texts.jsonl", "out.jsonl", "--batch-size", "7")
    assert annotate.titles == ["Reading texts.jsonl", "Loading model", "Annotating"]
    annotating = annotate.begun[-1]
    assert (annotating.done, annotating.total, annotating.unit) == (24, 24, "texts")
    assert annotating.note.endswith(" words/s")
    optimize = ("--calibrate", "texts.jsonl", "--backend", "torch", "--precision", "bf16")
    titles = phases("optimize", "model", "fast", *optimize, "--max-loss", "100").titles
    assert titles[:4] == [
        "Reading texts.jsonl",
        "Loading model",
        "Choosing texts",
        "Converting the encoder to bf16 with torch",
    ]
    assert titles[4].startswith("Loading ")
    assert titles[-1] == "Comparing both pipelines"
    assert phases("package", "model", "out", "--build", "none").titles == [
        "Copying model",
        "Loading the copy",
    ]
    assert phases("info", "model", "--verify").titles == ["Verifying model", "Loading model"]
