"""What of the encoder is trained, and how, in whole trainings."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
from safetensors.torch import load_file
from trainings import QUICK

from trfcli_pipeline.errors import ArgumentError, EncoderError
from trfcli_pipeline.evaluation.evaluate import evaluate
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training import (
    Checkpointed,
    Evaluated,
    Event,
    Planned,
    Stepped,
    TrainingArguments,
    train_textcat,
)

WEIGHTS = Path("trf_tok2vec", "model", "model.safetensors")
CHECKPOINTED = replace(QUICK, checkpoint_every=3)


@pytest.fixture
def model(untrained: Path) -> str:
    return str(untrained)


def run(model: str, data: str, output: Path, **settings: Any) -> list[Event]:
    return list(
        train_textcat(
            model,
            data,
            dev=data,
            output=output,
            settings=replace(CHECKPOINTED, **settings),
        )
    )


def changed(model: str, output: Path) -> set[str]:
    """Names of the encoder's weights that training has changed."""
    before, after = load_file(Path(model) / WEIGHTS), load_file(output / WEIGHTS)
    assert before.keys() == after.keys()
    return {name for name, each in before.items() if not torch.equal(each, after[name])}


METHODS = [
    {"layer_decay": 0.8, "freeze_layers": 1, "averages": True},
    {"lora": 2, "averages": True, "precision": "bf16", "layer_decay": 0.8},
    {"precision": "fp16", "accumulate": 2},
    {"freeze_encoder": True, "averages": True},
]


def content(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != "meta.json"
    }


@pytest.mark.parametrize("methods", METHODS, ids=str)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    model: str, data: str, tmp_path: Path, methods: dict[str, Any]
) -> None:
    run(model, data, tmp_path / "one", **methods)
    settings = replace(CHECKPOINTED, **methods)
    arguments: dict[str, Any] = {"dev": data, "output": tmp_path / "two", "settings": settings}
    events = train_textcat(model, data, **arguments)
    while not isinstance(next(events), Checkpointed):
        pass
    # Lost with the interruption.
    assert isinstance(next(events), Stepped)
    events.close()
    # What went on in between must not matter.
    torch.manual_seed(5)
    plan, *_ = list(train_textcat(model, data, **arguments, resume=True))
    assert isinstance(plan, Planned)
    assert plan.done_steps == 3
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("methods", [{}, {"freeze_encoder": True}], ids=str)
def test_texts_that_memory_has_no_room_for_are_trained_on_all_the_same(
    model: str,
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    methods: dict[str, Any],
) -> None:
    plan, *_ = run(model, data, tmp_path / "one", **methods)
    assert isinstance(plan, Planned)
    assert not any("memory" in remark for remark in plan.remarks)
    monkeypatch.setattr("trfcli_pipeline.training._ROOM", 5 * 16_000)
    monkeypatch.setattr("trfcli_pipeline.training.data._ROOM", 2_000)
    plan, *_ = run(model, data, tmp_path / "two", **methods)
    assert isinstance(plan, Planned)
    done = "encoded" if methods else "tokenized"
    assert plan.remarks[-1].endswith(
        f" of 40 texts in train don't fit in memory once {done}, "
        "so that is done anew in every epoch"
    )
    if methods:
        # Encoded in other batches, with other last bits.
        one, two = (spacy.load(tmp_path / name)("a great dog").cats for name in ("one", "two"))
        assert one == {label: pytest.approx(two[label], abs=1e-5) for label in one}
    else:
        assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("change", [{"lora": 4}, {"freeze_layers": 1}, {"precision": "bf16"}])
def test_another_method_is_another_training(
    model: str, data: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    settings = replace(CHECKPOINTED, lora=2)
    for event in train_textcat(model, data, output=tmp_path / "out", settings=settings):
        if isinstance(event, Checkpointed):
            break
    settings = replace(settings, **change)
    with pytest.raises(Exception, match="the settings differ"):
        next(train_textcat(model, data, output=tmp_path / "out", settings=settings, resume=True))


def test_frozen_layers_stay_as_they_are(model: str, data: str, tmp_path: Path) -> None:
    run(model, data, tmp_path, freeze_layers=1)
    parts = {name.rpartition(".")[0] for name in changed(model, tmp_path)}
    assert "encoder.layer.1.output.dense" in parts
    assert all(part.startswith(("encoder.layer.1.", "pooler.")) for part in parts)


def test_adapters_end_up_in_the_weights(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = run(model, data, tmp_path, lora=2, learn_rate=None)
    assert isinstance(events[0], Planned)
    assert events[0].trf_lr == 1e-3
    # Weights of six linear layers in each of two layers, and of the pooler.
    assert events[0].methods == ["LoRA of rank 2, 960 weights"]
    names = changed(model, tmp_path)
    assert len(names) == 12
    assert all(
        name.endswith(("query.weight", "key.weight", "value.weight", "dense.weight"))
        for name in names
    )
    monkeypatch.setitem(sys.modules, "peft", None)
    assert sum(spacy.load(tmp_path)("apple pie").cats.values()) == pytest.approx(1)


@pytest.mark.parametrize("methods", [{}, *METHODS], ids=str)
def test_what_is_saved_is_what_was_evaluated(
    model: str, data: str, tmp_path: Path, methods: dict[str, Any]
) -> None:
    best = [
        event
        for event in run(model, data, tmp_path, **methods)
        if isinstance(event, Evaluated) and event.choice
    ][-1]
    rows = list(srsly.read_jsonl(data))
    gold = [{label: float(label == row["label"]) for label in ("FRUIT", "FILM")} for row in rows]
    found = evaluate(spacy.load(tmp_path), [row["text"] for row in rows], gold)
    assert found.cats == best.evaluation.cats


def test_averages_are_other_weights_than_the_last(model: str, data: str, tmp_path: Path) -> None:
    for name, averages in (("last", False), ("averages", True)):
        run(model, data, tmp_path / name, averages=averages)
    files = [content(tmp_path / name) for name in ("last", "averages")]
    for name in (str(WEIGHTS), "trf_textcat/model"):
        assert files[0][name] != files[1][name]


def test_the_precision_is_the_pipelines_own_unless_another_is_asked_for(
    model: str, data: str, tmp_path: Path
) -> None:
    nlp = spacy.load(model)
    nlp.get_pipe_config("trf_tok2vec")["precision"] = "bf16"
    nlp.to_disk(tmp_path / "bf16")
    found = []
    for settings in ({}, {"precision": "fp32"}, {"freeze_encoder": True}):
        plan = run(str(tmp_path / "bf16"), data, tmp_path / "trained", **settings)[0]
        assert isinstance(plan, Planned)
        found.append(plan.precision)
    assert found == ["bf16", "fp32", "fp32"]


def test_the_model_says_how_it_was_trained(model: str, data: str, tmp_path: Path) -> None:
    events = run(model, data, tmp_path, **METHODS[1], freeze_layers=1)
    plan = events[0]
    assert isinstance(plan, Planned)
    assert plan.precision == "bf16"
    assert plan.methods == [
        "lowest 1 of 2 layers frozen",
        "layer decay 0.8",
        "LoRA of rank 2, 512 weights",
        "averaged weights",
    ]
    nlp = spacy.load(tmp_path)
    facts = nlp.meta["trf"]["training"]
    expected = {"lora": 2, "precision": "bf16", "freeze_layers": 1, "freeze_encoder": False}
    assert {name: facts[name] for name in expected} == expected
    assert (facts["layer_decay"], facts["averages"]) == (0.8, True)
    optimizer = nlp.config["training"]["optimizer"]
    assert (optimizer["trf_layer_decay"], optimizer["use_averages"]) == (0.8, True)


@pytest.mark.parametrize(
    "settings", [{"layer_decay": 0.9}, {"freeze_layers": 1}, {"lora": 2}, {"precision": "fp16"}]
)
def test_an_encoder_that_is_not_trained_has_no_methods(settings: dict[str, Any]) -> None:
    option = f"--{next(iter(settings)).replace('_', '-')}"
    with pytest.raises(ArgumentError, match=f"{option} can't go with --freeze-encoder"):
        TrainingArguments(freeze_encoder=True, **settings)


@pytest.mark.parametrize("settings", [{"layer_decay": 0.9}, {"freeze_layers": 1}])
def test_layers_have_to_be_there(
    family_encoder: Callable[[str], Path], data: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    init_model(str(family_encoder("albert")), tmp_path / "model", lang="xx")
    with pytest.raises(EncoderError, match="albert: has no separate weights"):
        run(str(tmp_path / "model"), data, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()
