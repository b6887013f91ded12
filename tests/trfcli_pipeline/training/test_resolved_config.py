"""The config that trains the same model."""

from dataclasses import replace
from pathlib import Path

import pytest
from directories import snapshot
from thinc.api import Config
from trainings import QUICK

from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig, config_path
from trfcli_pipeline.training.resolved_config import resolve_config
from trfcli_pipeline.training.train import train_textcat

# Fewer steps than the size rules ask for.
FEW_STEPS = {"training.max_steps": 4, "schedule.warmup_steps": 2}


@pytest.mark.parametrize(
    "arguments",
    [
        TrainingArguments(overrides=FEW_STEPS, seed=3),
        replace(
            QUICK,
            exclusive=False,
            balance=True,
            freeze_layers=1,
            segments="sentences",
            dev_split=0.2,
            max_texts=24,
            patience=1,
            learn_rate=None,
            overrides={"training.eval_frequency": 2, "training.dropout": 0.1},
        ),
    ],
    ids=["size rules", "arguments"],
)
def test_it_trains_the_same_model(
    model: Path, data: str, tmp_path: Path, arguments: TrainingArguments
) -> None:
    before = snapshot(tmp_path)
    text, _ = resolve_config(str(model), data, None, arguments)
    assert snapshot(tmp_path) == before
    config = tmp_path / "train.cfg"
    config.write_text(text)
    trained = []
    for each in (arguments, TrainingArguments(config=config)):
        output = tmp_path / f"trained-{len(trained)}"
        list(train_textcat(str(model), data, output=output, arguments=each))
        # meta.json has the arguments as they were given.
        (output / "meta.json").unlink()
        trained.append(snapshot(output))
    assert trained[0] == trained[1]


def test_it_keeps_the_settings_of_the_pipeline_and_its_classifier(model: Path, data: str) -> None:
    file = model / "config.cfg"
    config = Config().from_disk(file, interpolate=False)
    config["components"]["trf_tok2vec"]["words_per_batch"] = 40
    config["components"]["trf_textcat"] = {"factory": "trf_textcat", "pooling": "max"}
    config.to_disk(file)
    text, _ = resolve_config(str(model), data, None, QUICK)
    resolved = Config().from_str(text)["components"]
    assert resolved["trf_tok2vec"]["words_per_batch"] == 40
    assert resolved["trf_textcat"]["pooling"] == "max"


def test_values_follow_from_the_texts_again_if_the_file_is_edited(
    model: Path, data: str, tmp_path: Path
) -> None:
    text, decisions = resolve_config(str(model), data, None, TrainingArguments())
    assert decisions[0].startswith("Fewer than 500 texts: batch size 16")
    path = tmp_path / "train.cfg"
    path.write_text(text.replace("max_epochs = 67", "max_epochs = 10"))
    config = TrainingConfig(TrainingArguments(config=path), exclusive=True)
    config.fit(36)
    assert (config.steps, config.warmup_steps) == (30, 3)
    assert config.config["training"]["optimizer"]["trf_lr"]["total_steps"] == 30


def test_without_texts_it_has_the_defaults(model: Path) -> None:
    text, decisions = resolve_config(str(model), None, None, TrainingArguments(epochs=4))
    config, shipped = (
        each.interpolate()
        for each in (Config().from_str(text), Config().from_disk(config_path("textcat.cfg")))
    )
    assert config["training"] == {**shipped["training"], "max_epochs": 4}
    assert config["trf"]["exclusive"] is None
    assert decisions == [
        "Without TRAIN, epochs, batch size and learning rate are those for thousands of texts"
    ]


def test_arguments_take_the_place_of_those_in_the_file(
    model: Path, data: str, tmp_path: Path
) -> None:
    first = replace(QUICK, eval_every=4, max_texts=30)
    text, _ = resolve_config(str(model), data, None, first)
    path = tmp_path / "train.cfg"
    path.write_text(text)
    text, _ = resolve_config(
        str(model), data, None, TrainingArguments(config=path, eval_every=7, exclusive=False)
    )
    config = Config().from_str(text)
    stored = {name: config["trf"][name] for name in ("eval_every", "max_texts", "exclusive")}
    assert stored == {"eval_every": 7, "max_texts": 30, "exclusive": False}
    assert config["training"]["eval_frequency"] == 7
    assert config["components"]["trf_textcat"]["exclusive_classes"] is False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lora = 0", r"trf.lora = 0: must be at least 1\n"),
        ("lora = true", r"trf.lora = True: has the wrong type\n"),
        ("dev_split = 2.0", r"trf.dev_split = 2.0: must be from 0.001 to 0.9\n"),
        ("fixed = 3", r"trf.fixed = 3: must be a list of settings\n"),
        ("epochs = 3", r"trf.epochs: there is no such argument\nAvailable: exclusive, "),
    ],
)
def test_a_wrong_argument_in_the_file_is_an_error(
    model: Path, tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "train.cfg"
    path.write_text(f"{config_path('textcat.cfg').read_text()}\n[trf]\n{line}\n")
    with pytest.raises(DataError, match=message):
        list(train_textcat(str(model), "-", arguments=TrainingArguments(config=path)))


def test_an_unknown_precision_in_the_file_is_an_error(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.cfg"
    path.write_text(f"{config_path('textcat.cfg').read_text()}\n[trf]\nprecision = 'fp8'\n")
    with pytest.raises(PipelineError, match="precision: unknown value"):
        list(train_textcat(str(model), "-", arguments=TrainingArguments(config=path)))
