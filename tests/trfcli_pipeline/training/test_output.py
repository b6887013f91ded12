"""Where a trained pipeline goes, and what happens if it can't."""

import errno
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
from directories import snapshot
from trainings import QUICK, finish, hidden

from trfcli_pipeline import verify
from trfcli_pipeline.data.outputs import spaces
from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.training import checkpoints
from trfcli_pipeline.training.events import Checkpointed, Planned
from trfcli_pipeline.training.train import train_textcat

CHECKED = replace(QUICK, epochs=3, eval_every=4, checkpoint_every=4)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_trained_pipeline_is_what_its_manifest_says(model: Path, data: str) -> None:
    finish(train_textcat(str(model), data, arguments=QUICK))
    assert verify(model) == len(snapshot(model)) - 1
    flip(model / "trf_textcat" / "model")
    with pytest.raises(PipelineError, match="trf_textcat/model changed"):
        verify(model)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_full_disk_says_how_to_go_on(
    model: Path, data: str, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    before, calls = snapshot(model), []
    save_file = checkpoints.save_file

    def save(*args: Any) -> None:
        calls.append(args)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(*args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", save)
        with pytest.raises(OutputError, match="the disk is full") as caught:
            list(train_textcat(str(model), data, dev=data, arguments=CHECKED))
    assert snapshot(model) == before
    best = hidden(model) / "best"
    verify(best)
    if fails_at == 1:
        assert f"the best model is kept in {best}" in caught.value.message
    else:
        assert "the last checkpoint is kept" in caught.value.message
        assert "--resume" in str(caught.value.hint)
    resume = fails_at == 2
    finish(train_textcat(str(model), data, dev=data, arguments=CHECKED, resume=resume))
    assert list(model.parent.iterdir()) == [model]


@pytest.fixture
def interrupted(model: Path, data: str, scores: Callable[..., None]) -> Path:
    """The workspace of a training run with a checkpoint, whose best evaluation is its first."""
    scores(1.0, 0.1)
    events = train_textcat(str(model), data, dev=data, arguments=CHECKED)
    next(event for event in events if isinstance(event, Checkpointed))
    next(events)
    events.close()
    return hidden(model)


@pytest.mark.parametrize("name", ["tensors.safetensors", "progress.json", "checksums.json"])
def test_damaged_checkpoint_is_noticed(
    model: Path, data: str, interrupted: Path, name: str
) -> None:
    flip(interrupted / "checkpoint" / name)
    with pytest.raises(PipelineError, match=r"checkpoint: damaged \(.*\), so the training can't"):
        list(train_textcat(str(model), data, dev=data, arguments=CHECKED, resume=True))
    plan = next(train_textcat(str(model), data, dev=data, arguments=CHECKED))
    assert isinstance(plan, Planned)
    assert plan.warnings[-1].startswith("An unfinished training, which is damaged, will be")


def test_damaged_result_replaces_nothing(model: Path, data: str, interrupted: Path) -> None:
    before = snapshot(model)
    flip(interrupted / "best" / "trf_tok2vec" / "model" / "model.safetensors")
    with pytest.raises(PipelineError, match=r"model\.safetensors changed"):
        list(train_textcat(str(model), data, dev=data, arguments=CHECKED, resume=True))
    assert snapshot(model) == before


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_workspace_of_somebody_else_is_left_alone(model: Path, data: str, kind: str) -> None:
    folder = model.parent / "mine"
    (folder / "best").mkdir(parents=True)
    (folder / "photo.jpg").write_text("mine")
    match kind:
        case "file":
            hidden(model).write_text("mine")
        case "link":
            hidden(model).symlink_to(folder)
        case "folder":
            folder.rename(hidden(model))
    before = snapshot(model.parent)
    with pytest.raises(OutputError, match="is not from an interrupted training"):
        list(train_textcat(str(model), data, arguments=QUICK))
    assert snapshot(model.parent) == before


def test_missing_room_is_noticed_first(
    model: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr(spaces.shutil, "disk_usage", lambda path: usage(200_000))
    with pytest.raises(OutputError, match=r"0\.2 MB are free, but about 0\.\d MB are needed"):
        next(train_textcat(str(model), data, arguments=QUICK))
    frozen = replace(QUICK, checkpoint_every=0, freeze_encoder=True)
    monkeypatch.setattr(spaces.shutil, "disk_usage", lambda path: usage(600_000))
    finish(train_textcat(str(model), data, arguments=frozen))


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_target_with_a_broken_meta_json_is_noticed_first(
    model: Path, data: str, content: str
) -> None:
    target = model.parent / "target"
    shutil.copytree(model, target)
    (target / "meta.json").write_text(content)
    before = snapshot(target)
    if content == "{}":
        # The pipeline itself is whole.
        (target / "config.cfg").unlink()
        before.pop("config.cfg")
    with pytest.raises(OutputError, match="exists and is not a spaCy pipeline"):
        next(train_textcat(str(model), data, output=target, arguments=QUICK, force=True))
    assert snapshot(target) == before


def test_pipeline_without_a_manifest_is_replaced_if_it_loads(model: Path, data: str) -> None:
    target = model.parent / "target"
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("tagger").add_label("A")
    nlp.initialize()
    nlp.to_disk(target)
    (target / "README.md").write_text("mine")
    finish(train_textcat(str(model), data, output=target, arguments=QUICK, force=True))
    assert (target / "README.md").read_text() == "mine"
    assert not (target / "tagger").exists()
    assert spacy.load(target).pipe_names[-1] == "trf_textcat"
    assert snapshot(target).keys() == snapshot(model).keys() | {
        *("README.md", "training.jsonl", "trf_textcat/cfg", "trf_textcat/model")
    }
