"""Resuming of interrupted training runs."""

import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import srsly
from directories import snapshot
from trainings import QUICK, finish, hidden, rows, start, write

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.events import Checkpointed, Finished, Planned, Stepped
from trfcli_pipeline.training.train import train_textcat

# Checkpoints within an epoch and at its end, and evaluations at other steps.
LONG = replace(QUICK, epochs=3, eval_every=4, checkpoint_every=3)


@pytest.fixture(scope="module")
def uninterrupted(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The data, and the model that training with LONG gives."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    data = write(folder / "train.jsonl", rows("FRUIT", "FILM"))
    list(train_textcat(str(untrained), data, output=folder / "model", arguments=LONG))
    return data, folder / "model"


@pytest.mark.parametrize("steps", [(2,), (3,), (7,), (10,), (15,), (4, 6, 9, 13)])
def test_resumed_training_gives_the_same_model_as_uninterrupted_training(
    model: Path, uninterrupted: tuple[str, Path], steps: tuple[int, ...]
) -> None:
    data, result = uninterrupted
    for stop in steps:
        events = train_textcat(str(model), data, arguments=LONG, resume=True)
        for event in events:
            if isinstance(event, Stepped) and event.step == stop:
                break
        events.close()
        random.seed(stop)
    events = train_textcat(str(model), data, arguments=LONG, resume=True)
    plan = next(events)
    assert isinstance(plan, Planned)
    assert plan.done_steps == (steps[-1] - 1) // 3 * 3
    finish(events)
    assert list(model.parent.iterdir()) == [model]
    assert snapshot(model) | {"meta.json": ""} == snapshot(result) | {"meta.json": ""}
    one, other = (srsly.read_json(path / "meta.json") for path in (model, result))
    # The request includes the output directory.
    for meta in (one, other):
        del meta["trf"]["training"]["request"]
    assert one == other


def test_resumed_training_divides_batches_as_before_whatever_memory_is_free(
    tiny_bert: Path, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, other units would be dropped, and sums rounded differently."""
    untrained = tmp_path / "untrained"
    init_model(str(tiny_bert), untrained, lang="xx", words_per_batch="auto")
    # On a GPU, batches as small as these aren't divided.
    arguments = replace(LONG, device="cpu")
    weights = {}
    for name, free in {"little": (10**5,), "much": (10**12,), "more": (10**5, 10**12)}.items():
        model = tmp_path / name / "model"
        shutil.copytree(untrained, model)
        for index, each in enumerate(free):
            set_free_bytes(monkeypatch, each)
            events = train_textcat(str(model), data, arguments=arguments, resume=index > 0)
            for event in events:
                if isinstance(event, Stepped) and event.step == 7 and each != free[-1]:
                    break
            events.close()
        weights[name] = snapshot(model / "trf_tok2vec")
    assert weights["more"] == weights["little"] != weights["much"]


def set_free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.out_of_memory.free_bytes", lambda device: free)


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
torch.cpu.get_capabilities = dict  # float32, as in the tests themselves
from trfcli_pipeline.training.events import Checkpointed
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.train import train_textcat

arguments = TrainingArguments(
    epochs=3, batch_size=8, seed=1, learn_rate=5e-3, eval_every=4, checkpoint_every=3
)
for event in train_textcat(sys.argv[1], sys.argv[2], arguments=arguments):
    if isinstance(event, Checkpointed) and event.step == 9:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_training_leaves_the_model_unchanged_and_can_be_resumed(
    model: Path, uninterrupted: tuple[str, Path]
) -> None:
    data, result = uninterrupted
    before = snapshot(model)
    command = [sys.executable, "-c", KILLED, str(model), data]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert snapshot(model) == before
    finish(train_textcat(str(model), data, arguments=LONG, resume=True))
    for part in ("trf_tok2vec", "trf_textcat"):
        assert snapshot(model / part) == snapshot(result / part)


def test_kill_before_the_checkpoint_is_removed_does_no_harm(model: Path, data: str) -> None:
    """The trained pipeline is in its place, but a checkpoint is left."""
    kept = model.parent.parent / "kept"
    for event in train_textcat(str(model), data, arguments=QUICK):
        if isinstance(event, Checkpointed):
            shutil.copytree(hidden(model), kept)
    trained = snapshot(model)
    kept.rename(hidden(model))
    (end,) = train_textcat(str(model), data, arguments=QUICK, resume=True)
    assert isinstance(end, Finished)
    assert end.already_finished
    assert snapshot(model) == trained
    assert list(model.parent.iterdir()) == [model]
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert (end.best_step, end.score) == (facts["best_step"], facts["score"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"arguments": replace(QUICK, learn_rate=1e-3)},
            r"changed \(training.optimizer.trf_lr.initial_rate 0.005 -> 0.001\)\n",
        ),
        (
            {"arguments": replace(QUICK, freeze_encoder=True)},
            r"the settings have changed \(freeze_encoder false -> true\)\n",
        ),
        ({"train": "other.jsonl"}, "the training texts and the dev texts have changed"),
    ],
)
def test_training_is_not_resumed_with_other_settings_or_texts(
    model: Path, data: str, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for event in train_textcat(str(model), data, arguments=QUICK):
        if isinstance(event, Checkpointed):
            break
    kept = snapshot(hidden(model))
    write(tmp_path / "other.jsonl", rows("FRUIT", "FILM")[::-1])
    arguments: dict[str, Any] = {"train": data, "arguments": QUICK, **change}
    if "train" in change:
        arguments["train"] = str(tmp_path / change["train"])
    with pytest.raises(PipelineError, match=message):
        list(train_textcat(str(model), **arguments, resume=True))
    assert snapshot(hidden(model)) == kept
    # A new training run discards it, and says so.
    plan = start(str(model), data, arguments=QUICK)
    assert plan.warnings[-1].startswith("An unfinished training at step 5 will be discarded")


def test_checkpoints_can_be_turned_off(model: Path, data: str) -> None:
    arguments = replace(QUICK, checkpoint_every=0)
    events = list(train_textcat(str(model), data, arguments=arguments))
    assert not any(isinstance(event, Checkpointed) for event in events)


def test_scores_of_all_evaluations_are_saved(uninterrupted: tuple[str, Path]) -> None:
    _, result = uninterrupted
    history = list(srsly.read_jsonl(result / "training.jsonl"))
    assert [row["step"] for row in history] == [4, 8, 12, 15]
    best = [row for row in history if row["is_kept"]][-1]
    facts = srsly.read_json(result / "meta.json")["trf"]["training"]
    assert (best["step"], best["score"]) == (facts["best_step"], facts["score"])
    assert best["score"] == best["cats_macro_f"]
