"""Which of the encoder's weights are trained and how, in whole training runs."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from safetensors.torch import load_file
from spacy.training import Example
from trainings import QUICK, start

from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.errors import ArgumentError, EncoderError, PipelineError
from trfcli_pipeline.evaluation.classifier import find_classifier
from trfcli_pipeline.evaluation.run import evaluate_classifier
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.tasks.init_model import init_model
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Checkpointed, Evaluated, Planned, Stepped, TrainingEvent
from trfcli_pipeline.training.train import train_textcat

WEIGHTS = Path("trf_tok2vec", "model", "model.safetensors")
CHECKPOINTED = replace(QUICK, checkpoint_every=3)
LAYER_DECAY = {"training.optimizer.trf_layer_decay": 0.8}
AVERAGES = {"training.optimizer.use_averages": True}
ACCUMULATED = {"training.accumulate_gradient": 2}


@pytest.fixture
def model(untrained: Path) -> str:
    return str(untrained)


def run(model: str, data: str, output: Path, **arguments: Any) -> list[TrainingEvent]:
    return list(
        train_textcat(
            model,
            data,
            dev=data,
            output=output,
            arguments=replace(CHECKPOINTED, **arguments),
        )
    )


def changed(model: str, output: Path) -> set[str]:
    """Names of the encoder's weights that training changed."""
    before, after = load_file(Path(model) / WEIGHTS), load_file(output / WEIGHTS)
    assert before.keys() == after.keys()
    return {name for name, each in before.items() if not torch.equal(each, after[name])}


METHODS = [
    {"freeze_layers": 1, "overrides": LAYER_DECAY | AVERAGES},
    {"lora": 2, "precision": "bf16", "overrides": LAYER_DECAY | AVERAGES},
    {"precision": "fp16", "overrides": ACCUMULATED},
    {"freeze_encoder": True, "overrides": AVERAGES},
]


def content(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != "meta.json"
    }


@pytest.mark.parametrize("methods", METHODS, ids=str)
def test_resumed_training_gives_the_same_model_as_uninterrupted_training(
    model: str, data: str, tmp_path: Path, methods: dict[str, Any]
) -> None:
    run(model, data, tmp_path / "one", **methods)
    options: dict[str, Any] = {
        "dev": data,
        "output": tmp_path / "two",
        "arguments": replace(CHECKPOINTED, **methods),
    }
    events = train_textcat(model, data, **options)
    while not isinstance(next(events), Checkpointed):
        pass
    # A step after the checkpoint, which is lost.
    assert isinstance(next(events), Stepped)
    events.close()
    # The state of random generators at the restart must not matter.
    torch.manual_seed(5)
    plan, *_ = list(train_textcat(model, data, **options, resume=True))
    assert isinstance(plan, Planned)
    assert plan.done_steps == 3
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("methods", [{}, {"freeze_encoder": True}], ids=str)
def test_texts_that_do_not_fit_in_memory_are_trained_on_as_well(
    model: str,
    data: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    methods: dict[str, Any],
) -> None:
    plan, *_ = run(model, data, tmp_path / "one", **methods)
    assert isinstance(plan, Planned)
    assert not any("memory" in warning for warning in plan.warnings)
    monkeypatch.setattr("trfcli_pipeline.training.train_model._MEMORY", 5 * 16_000)
    monkeypatch.setattr("trfcli_pipeline.training.data._MEMORY", 2_000)
    plan, *_ = run(model, data, tmp_path / "two", **methods)
    assert isinstance(plan, Planned)
    done = "encoded" if methods else "tokenized"
    assert plan.warnings[-1].endswith(
        f" of 40 training texts don't fit in memory and will be {done} again in every epoch"
    )
    if methods:
        # Encoded in different batches, which rounds differently.
        one, two = (spacy.load(tmp_path / name)("a great dog").cats for name in ("one", "two"))
        assert one == {label: pytest.approx(two[label], abs=1e-5) for label in one}
    else:
        assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("methods", [{}, {"freeze_encoder": True}], ids=str)
def test_a_probe_of_many_texts_is_fitted_to_some_of_them(
    model: str, data: str, monkeypatch: pytest.MonkeyPatch, methods: dict[str, Any]
) -> None:
    monkeypatch.setattr("trfcli_pipeline.training.classifier_start._MOST_PROBED", 30)
    fitted: list[tuple[int, list[str]]] = []

    def fit(self: Any, features: Any, examples: Iterable[Example]) -> None:
        fitted.append((len(features), [example.text for example in examples]))

    monkeypatch.setattr(TransformersTextCategorizer, "initialize_from_probe", fit)
    for seed in (0, 0, 1):
        start(model, data, dev=data, arguments=replace(QUICK, seed=seed, **methods))
    assert [number for number, _ in fitted] == [30, 30, 30]
    one, again, other = (texts for _, texts in fitted)
    texts = [record.text for record in read_records(data, labeled=True)]
    assert len(one) == 30
    assert {*one} < {*texts}
    assert one == again != other


def test_texts_are_encoded_once_for_a_frozen_encoder(
    model: str, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_again(*_: Any) -> None:
        pytest.fail("A text is encoded again")

    monkeypatch.setattr("trfcli_pipeline.training.classifier_start.run_up_to", encode_again)
    plan = start(model, data, dev=data, arguments=replace(QUICK, freeze_encoder=True))
    assert plan.classifier == "new classifier, initialized by a linear probe"


@pytest.mark.parametrize("change", [{"lora": 4}, {"freeze_layers": 1}, {"precision": "bf16"}])
def test_training_is_not_resumed_with_another_method(
    model: str, data: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    arguments = replace(CHECKPOINTED, lora=2)
    for event in train_textcat(model, data, output=tmp_path / "out", arguments=arguments):
        if isinstance(event, Checkpointed):
            break
    arguments = replace(arguments, **change)
    with pytest.raises(PipelineError, match="the settings have changed"):
        next(train_textcat(model, data, output=tmp_path / "out", arguments=arguments, resume=True))


def test_frozen_layers_are_not_trained(model: str, data: str, tmp_path: Path) -> None:
    run(model, data, tmp_path, freeze_layers=1)
    parts = {name.rpartition(".")[0] for name in changed(model, tmp_path)}
    assert "encoder.layer.1.output.dense" in parts
    assert all(part.startswith(("encoder.layer.1.", "pooler.")) for part in parts)


def test_lora_adapters_are_merged_into_the_weights(
    model: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = run(model, data, tmp_path, lora=2, learn_rate=None)
    assert isinstance(events[0], Planned)
    assert events[0].config.trf_lr == 1e-3
    # Six linear layers in each of two layers, and the pooler.
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
def test_saved_pipeline_has_the_scores_of_its_evaluation(
    model: str, data: str, tmp_path: Path, methods: dict[str, Any]
) -> None:
    best = [
        event
        for event in run(model, data, tmp_path, **methods)
        if isinstance(event, Evaluated) and event.kept_because
    ][-1]
    nlp = spacy.load(tmp_path)
    records = read_records(data, labeled=True)
    found = evaluate_classifier(nlp, records, find_classifier(nlp), name=data)
    assert found.cats == best.evaluation.cats


def test_averages_differ_from_the_last_weights(model: str, data: str, tmp_path: Path) -> None:
    for name, averages in (("last", False), ("averages", True)):
        run(model, data, tmp_path / name, overrides=AVERAGES if averages else {})
    files = [content(tmp_path / name) for name in ("last", "averages")]
    for name in (str(WEIGHTS), "trf_textcat/model"):
        assert files[0][name] != files[1][name]


def test_precision_defaults_to_that_of_the_pipeline(model: str, data: str, tmp_path: Path) -> None:
    nlp = spacy.load(model)
    nlp.get_pipe_config("trf_tok2vec")["precision"] = "bf16"
    nlp.to_disk(tmp_path / "bf16")
    found = []
    for arguments in ({}, {"precision": "fp32"}, {"freeze_encoder": True}):
        plan = run(str(tmp_path / "bf16"), data, tmp_path / "trained", **arguments)[0]
        assert isinstance(plan, Planned)
        found.append(plan.precision)
    assert found == ["bf16", "fp32", "fp32"]


def test_model_records_how_it_was_trained(model: str, data: str, tmp_path: Path) -> None:
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
    ("arguments", "option"),
    [
        ({"overrides": LAYER_DECAY}, "--training.optimizer.trf_layer_decay"),
        ({"freeze_layers": 1}, "--freeze-layers"),
        ({"lora": 2}, "--lora"),
        ({"precision": "fp16"}, "--precision"),
    ],
)
def test_options_for_training_the_encoder_contradict_freezing_it(
    arguments: dict[str, Any], option: str
) -> None:
    with pytest.raises(ArgumentError, match=f"{option} can't be combined with --freeze-encoder"):
        TrainingArguments(freeze_encoder=True, **arguments)


@pytest.mark.parametrize("arguments", [{"overrides": LAYER_DECAY}, {"freeze_layers": 1}])
def test_options_for_layers_need_an_encoder_with_layers(
    family_encoder: Callable[[str], Path], data: str, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    init_model(str(family_encoder("albert")), tmp_path / "model", lang="xx")
    with pytest.raises(EncoderError, match="albert: has no separate weights"):
        run(str(tmp_path / "model"), data, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
