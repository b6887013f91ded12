"""Overrides of single config settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from trainings import QUICK, constant_rates, finish, start

from trfcli_pipeline.errors import ArgumentError, DataError, PipelineError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig, config_path
from trfcli_pipeline.training.events import Checkpointed
from trfcli_pipeline.training.overrides import suggest_setting
from trfcli_pipeline.training.train import train_textcat


def fitted(n_texts: int, overrides: dict[str, Any], **arguments: Any) -> TrainingConfig:
    arguments = {"overrides": overrides, **arguments}
    config = TrainingConfig(TrainingArguments(**arguments), exclusive=True)
    config.fit(n_texts)
    return config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.dropout", 0.2),
        ("training.max_steps", 7),
        ("training.eval_frequency", 5),
        ("training.accumulate_gradient", 2),
        ("training.patience", 40),
        ("training.optimizer.grad_clip", 0.5),
        ("training.optimizer.trf_lr", 1e-5),
        ("training.optimizer.trf_lr.initial_rate", 1e-5),
        ("training.optimizer.trf_weight_decay", 0.1),
        ("training.optimizer.use_averages", True),
        ("training.score_weights.cats_micro_f", 0.5),
        ("training.score_weights.accuracy", 0.5),
        ("schedule.warmup_steps", 3),
        ("system.seed", 9),
        ("components.trf_textcat.pooling", "max"),
        ("components.trf_textcat.focal_gamma", 2.0),
        ("components.trf_textcat.class_weights", {"FILM": 2.0}),
        ("components.trf_wordpiecer.segments", "doc"),
        ("components.trf_wordpiecer.max_length", 32),
        ("components.trf_tok2vec.words_per_batch", "auto"),
    ],
)
def test_override_takes_precedence(key: str, value: Any) -> None:
    found: Any = fitted(6400, {key: value}).config
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_what_depends_on_an_override_follows_it() -> None:
    config = fitted(100, {"training.max_epochs": 5, "training.batcher.size": 10})
    assert (config.steps, config.warmup_steps) == (50, 5)
    assert fitted(100, {"training.max_steps": 40}).warmup_steps == 4


def test_arguments_of_another_function_can_be_set() -> None:
    overrides = {
        "training.batcher.discard_oversize": True,
        "training.batcher.@batchers": "spacy.batch_by_sequence.v1",
    }
    with pytest.raises(ArgumentError, match="discard_oversize"):
        fitted(100, overrides)
    overrides = {
        "training.batcher.get_length": None,
        "training.batcher.@batchers": "spacy.batch_by_sequence.v1",
    }
    assert fitted(100, overrides).config["training"]["batcher"]["get_length"] is None


@pytest.mark.parametrize(
    ("overrides", "message", "hint"),
    [
        ({"training.dropuot": 0.1}, "--training.dropuot: the config has no", "--training.dropout"),
        ({"optimizer.trf_lr": 1e-5}, "has no such setting", "--training.optimizer.trf_lr?"),
        ({"training.learn_rate": 1e-5}, "no such setting", "--training.optimizer.learn_rate?"),
        ({"components.trf_textcat.poling": "max"}, "no such", "--components.trf_textcat.pooling"),
        ({"training.score_weights.cats_makro_f": 1}, "no such", "cats_macro_f"),
        ({"no.thing.alike": 1}, "--no.thing.alike: the config has no such setting", None),
        ({"paths.train": "a"}, "--paths.train: trf train doesn't use this setting", "arguments"),
        ({"components.trf_tok2vec.device": "cpu"}, "doesn't use this setting", "options"),
        ({"training.dropout": "low"}, "--training.dropout low: must be a number", None),
        (
            {"training.dropout": True},
            r"dropout true: must be a number \(is a value missing\?",
            None,
        ),
        (
            {"components.trf_tok2vec.words_per_batch": True},
            r"must be a whole number \(is a value missing",
            None,
        ),
        ({"components.trf_tok2vec.keep": True}, r"must be text \(is a value missing", None),
        ({"training.optimizer.grad_clip": True}, r"grad_clip true: must be a number \(is", None),
        ({"training.max_steps": 2.0}, "max_steps 2.0: must be a whole number, at least 1", None),
        ({"training.score_weights.accuracy": "x"}, "accuracy x: must be a number", None),
        ({"schedule.warmup_steps": "x"}, "warmup_steps x: must be a whole number", None),
        ({"training.batcher": "x"}, "--training.batcher x: must be a section", None),
        ({"training.batcher.@batchers": "x"}, "@batchers x: Could not find function 'x'", None),
        ({"components.trf_textcat.class_weights": "x"}, "x: must be numbers by name", None),
        ({"training.dropout": 1.5}, "--training.dropout 1.5: must be from 0 to 1", None),
        ({"training.max_epochs": 0}, "max_epochs 0: must be a whole number, at least 1", None),
        ({"training.batcher.size": 2.5}, "size 2.5: must be a whole number, at least 1", None),
        ({"training.max_steps": "${a.b}"}, "must be a whole number", None),
        ({"training.optimizer.trf_lr": -1}, "--training.optimizer.trf_lr -1: must be at", None),
        ({"training.optimizer.trf_lr": "abc"}, "optimizer.trf_lr abc: must be a number$", None),
        ({"training.optimizer.use_averages": "x"}, "x: must be true or false", None),
        ({"components.trf_textcat.focal_gamma": "x"}, "focal_gamma x: must be a number", None),
        ({"components.trf_textcat.exclusive_classes": "x"}, "x: must be true or false", None),
        ({"components.trf_tok2vec.keep": 3}, "--components.trf_tok2vec.keep 3: must be text", None),
    ],
    ids=str,
)
def test_wrong_override_is_an_error_before_the_texts_are_read(
    model: Path, overrides: dict[str, Any], message: str, hint: str | None
) -> None:
    arguments = TrainingArguments(overrides=overrides)
    with pytest.raises(ArgumentError, match=message) as caught:
        next(train_textcat(str(model), "absent.jsonl", arguments=arguments))
    if hint is None:
        assert caught.value.hint is None
    else:
        assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "value", "key", "option"),
    [
        ("epochs", 3, "training.max_epochs", "--epochs"),
        ("batch_size", 8, "training.batcher.size", "--batch-size"),
        ("batch_size", 8, "training.batcher", "--batch-size"),
        ("learn_rate", 1e-5, "training.optimizer.trf_lr", "--learn-rate"),
        ("learn_rate", 1e-5, "training.optimizer.trf_lr.initial_rate", "--learn-rate"),
        ("patience", 0, "training.patience", "--patience"),
        ("eval_every", 5, "training.eval_frequency", "--eval-every"),
        ("seed", 0, "system.seed", "--seed"),
        ("segments", "doc", "components.trf_wordpiecer.segments", "--segments"),
        ("architecture", "x", "components.trf_textcat.architecture", "--architecture"),
        ("balance", True, "components.trf_textcat.class_weights", "--balance"),
        ("exclusive", False, "components.trf_textcat.exclusive_classes", "--exclusive/--multi"),
    ],
)
def test_option_and_override_of_the_same_setting_contradict_each_other(
    name: str, value: Any, key: str, option: str
) -> None:
    arguments: dict[str, Any] = {name: value, "overrides": {key: 1}}
    with pytest.raises(ArgumentError, match=f"{option}.* and --{key} set the same thing"):
        TrainingArguments(**arguments)
    TrainingArguments(overrides={key: 1})


def test_setting_and_its_section_contradict_each_other() -> None:
    overrides = {"training.optimizer.trf_lr": 1e-5, "training.optimizer.trf_lr.initial_rate": 1e-5}
    with pytest.raises(ArgumentError, match="set the same thing"):
        TrainingArguments(overrides=overrides)


def test_error_in_the_config_file_is_not_blamed_on_overrides(tmp_path: Path) -> None:
    path = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3, dropout="low")
    with pytest.raises(DataError, match=r"a\.cfg: dropout: must be a number"):
        fitted(100, {"training.max_epochs": 2}, config=path)


@pytest.mark.parametrize(
    ("old", "new", "has_line", "problem"),
    [
        ("[training]", "[training", True, "not valid in a config file"),
        ("[training]", "[system]", True, "section 'system' already exists"),
        ("dropout = 0.0", "dropout 0.0", True, "not valid in a config file"),
        ("[training]", "[system.seed.a]", False, "system.seed.a: found conflicting values"),
    ],
)
def test_malformed_config_file_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, has_line: bool, problem: str
) -> None:
    path = tmp_path / "a.cfg"
    text = config_path("textcat.cfg").read_text()
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError) as caught:
        fitted(100, {}, config=path)
    number = len(text[: text.index(old)].splitlines()) + 1
    place = f", line {number}" if has_line else ""
    assert caught.value.message == f"{path}{place}: {problem}"
    assert str(config_path("textcat.cfg")) in str(caught.value.hint)


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("accumulate", "training.accumulate_gradient"),
        ("focal-gamma", "components.trf_textcat.focal_gamma"),
        ("layer-decay", "training.optimizer.trf_layer_decay"),
        ("averages", "training.optimizer.use_averages"),
        ("pooling", "components.trf_textcat.pooling"),
    ],
)
def test_former_options_suggest_their_settings(option: str, key: str) -> None:
    assert suggest_setting(option) == f"Did you mean --{key}?"
    assert suggest_setting("nonsense") is None


def test_overrides_are_saved_with_the_model(model: Path, data: str) -> None:
    overrides = {
        "components.trf_textcat.pooling": "max",
        "components.trf_textcat.exclusive_classes": False,
        "components.trf_wordpiecer.max_length": 16,
        "components.trf_tok2vec.words_per_batch": 100,
        "training.dropout": 0.25,
        "training.max_steps": 3,
    }
    arguments = TrainingArguments(batch_size=8, overrides=overrides)
    plan = start(str(model), data, arguments=arguments)
    assert not plan.config.exclusive
    assert plan.segments == "windows of up to 16 wordpieces"
    finish(train_textcat(str(model), data, arguments=arguments))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert facts["overrides"] == overrides
    assert facts["steps"] == 3
    nlp = spacy.load(model)
    assert nlp.config["training"]["dropout"] == 0.25
    assert nlp.get_pipe("trf_textcat").cfg["pooling"] == "max"
    assert nlp.get_pipe("trf_wordpiecer").max_length == 16
    assert nlp.config["components"]["trf_tok2vec"]["words_per_batch"] == 100


def test_components_get_the_settings_of_the_config_file(
    model: Path, data: str, tmp_path: Path
) -> None:
    path = constant_rates(tmp_path / "own.cfg", head=0.01, encoder=1e-3)
    config = spacy.util.load_config(path, interpolate=False)
    config["components"]["trf_wordpiecer"].update(max_length=16, separator="|")
    config["components"]["trf_tok2vec"]["words_per_batch"] = 100
    config.to_disk(path)
    arguments = TrainingArguments(config=path, overrides={"training.max_steps": 1})
    plan = start(str(model), data, arguments=arguments)
    assert plan.segments == "windows of up to 16 wordpieces"
    finish(train_textcat(str(model), data, arguments=arguments))
    nlp = spacy.load(model)
    assert nlp.get_pipe("trf_wordpiecer").settings.separator == "|"
    assert nlp.get_pipe("trf_wordpiecer").max_length == 16
    assert nlp.config["components"]["trf_tok2vec"]["words_per_batch"] == 100


def test_training_is_not_resumed_with_other_overrides(model: Path, data: str) -> None:
    for event in train_textcat(str(model), data, arguments=QUICK):
        if isinstance(event, Checkpointed):
            break
    overrides = {"components.trf_tok2vec.words_per_batch": 100}
    changed = replace(QUICK, overrides=overrides)
    details = r"changed \(components\.trf_tok2vec\.words_per_batch null -> 100\)\n"
    with pytest.raises(PipelineError, match=details):
        list(train_textcat(str(model), data, arguments=changed, resume=True))
