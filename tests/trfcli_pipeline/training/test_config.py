"""How arguments, overrides and the number of texts change the config."""

import math
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig, config_path
from trfcli_pipeline.training.size_rules import format_rate

SHIPPED = config_path("textcat.cfg")


def fitted(n_texts: int, **arguments: Any) -> TrainingConfig:
    config = TrainingConfig(TrainingArguments(**arguments), exclusive=True)
    config.fit(n_texts)
    return config


@given(st.integers(1, 200_000))
def test_steps_follow_from_texts_batches_and_epochs(n_texts: int) -> None:
    config = fitted(n_texts)
    assert config.steps == math.ceil(n_texts / config.batch_size) * config.epochs
    assert config.steps >= 200
    assert config.warmup_steps == math.ceil(config.steps / 10)
    assert config.training["max_steps"] == config.steps


def test_thousands_of_texts_get_the_values_of_the_config() -> None:
    config = fitted(3000)
    assert (config.batch_size, config.epochs, config.decisions) == (32, 3, [])


def test_few_texts_get_more_epochs_of_smaller_batches() -> None:
    config = fitted(48)
    assert (config.batch_size, config.epochs, config.steps) == (16, 67, 201)
    assert config.decisions == [
        "Fewer than 500 texts: batch size 16 (--batch-size) and 67 epochs to reach at least 200 "
        "steps (--epochs)"
    ]
    assert config.training["eval_frequency"] == 7 * 3
    assert fitted(1000).decisions == ["Few texts: 7 epochs to reach at least 200 steps (--epochs)"]


def test_evaluations_come_every_epoch_or_less_often_if_epochs_are_short() -> None:
    assert fitted(5000).training["eval_frequency"] == math.ceil(5000 / 32)
    assert fitted(48, epochs=67).training["eval_frequency"] == 3
    assert fitted(48, eval_every=2).training["eval_frequency"] == 2
    assert fitted(320).training["eval_frequency"] == 20


@given(n_texts=st.integers(1, 3000))
def test_there_are_at_most_ten_evaluations_by_default(n_texts: int) -> None:
    config = fitted(n_texts)
    assert 1 <= math.ceil(config.steps / config.training["eval_frequency"]) <= 10


def test_classifier_starts_as_a_probe_if_there_are_few_texts() -> None:
    assert fitted(48).starts_as_probe
    assert fitted(48, epochs=3, batch_size=8).starts_as_probe
    assert not fitted(5000).starts_as_probe
    assert not fitted(48, config=SHIPPED).starts_as_probe
    assert not fitted(48, architecture="spacy.TextCatBOW.v3").starts_as_probe


def test_classifier_starts_as_a_probe_if_the_encoder_is_frozen() -> None:
    assert fitted(5000, freeze_encoder=True).starts_as_probe
    assert fitted(5000, freeze_encoder=True, config=SHIPPED).starts_as_probe
    chosen = {"linear_probe": False, "config": SHIPPED}
    assert not fitted(5000, freeze_encoder=True, **chosen).starts_as_probe


def test_many_texts_get_fewer_epochs() -> None:
    config = fitted(100_000)
    assert (config.batch_size, config.epochs) == (32, 2)
    assert config.decisions[0] == "More than 50,000 texts: 2 epochs (--epochs)"


@pytest.mark.parametrize(
    ("arguments", "batch_size"),
    [
        ({"epochs": 3, "batch_size": 8}, 8),
        ({"overrides": {"training.max_epochs": 3, "training.batcher.size": 8}}, 8),
        ({"config": SHIPPED}, 32),
    ],
    ids=["arguments", "overrides", "config"],
)
def test_size_of_the_data_changes_nothing_that_the_user_chose(
    arguments: dict[str, Any], batch_size: int
) -> None:
    config = fitted(48, **arguments)
    assert (config.batch_size, config.epochs, config.decisions) == (batch_size, 3, [])


def test_encoder_learning_rate_is_lower_for_more_steps() -> None:
    full = fitted(3200)
    assert (full.steps, full.trf_lr, full.decisions) == (300, 1e-4, [])
    lower = fitted(6400)
    assert lower.steps == 600
    assert lower.trf_lr == pytest.approx(5e-5)
    assert lower.decisions == [
        "More than 300 steps: encoder learning rate lowered from 1e-4 to 5e-5 (--learn-rate)"
    ]
    assert lower.learn_rate == full.learn_rate
    rates = [lower.optimizer.trf_lr]
    for _ in range(lower.steps):
        lower.optimizer.step_schedules()
        rates.append(lower.optimizer.trf_lr)
    assert max(rates) == pytest.approx(5e-5)
    assert fitted(100_000).trf_lr == 2e-5


@pytest.mark.parametrize(
    ("arguments", "rate"),
    [
        ({"learn_rate": 2e-4}, 2e-4),
        ({"lora": 4}, 1e-3),
        ({"config": SHIPPED}, 1e-4),
        ({"overrides": {"training.optimizer.trf_lr": 3e-4}}, 3e-4),
        ({"lora": 4, "overrides": {"training.optimizer.trf_lr.initial_rate": 3e-4}}, 3e-4),
    ],
    ids=str,
)
def test_learning_rate_of_the_user_or_for_lora_is_not_lowered(
    arguments: dict[str, Any], rate: float
) -> None:
    config = fitted(100_000, **arguments)
    assert config.trf_lr == rate
    assert not any("lowered" in decision for decision in config.decisions)


def test_learning_rate_of_lora_is_explained() -> None:
    decisions = ["Encoder learning rate 1e-3, as LoRA needs a higher one (--learn-rate)"]
    assert fitted(3000, lora=4).decisions == decisions
    assert fitted(3000, lora=4, learn_rate=1e-3).decisions == []


def test_learning_rate_starts_and_ends_at_zero() -> None:
    config = fitted(5000, learn_rate=2e-5)
    rates = []
    for _ in range(config.steps + 1):
        rates.append(config.optimizer.trf_lr)
        config.optimizer.step_schedules()
    assert rates[0] == rates[-1] == 0.0
    assert max(rates) == rates[config.warmup_steps] == pytest.approx(2e-5)
    assert config.trf_lr == 2e-5


def test_accumulated_batches_give_fewer_steps() -> None:
    config = fitted(5000, overrides={"training.accumulate_gradient": 4})
    assert config.steps == 3 * math.ceil(math.ceil(5000 / 32) / 4)


def test_frozen_encoder_has_no_learning_rate() -> None:
    assert fitted(5000, freeze_encoder=True).trf_lr is None


def test_only_settings_that_the_user_names_change_the_components_of_the_pipeline(
    tmp_path: Path,
) -> None:
    assert fitted(100).pipeline_overrides == {}
    wordpiecer, encoder = "components.trf_wordpiecer", "components.trf_tok2vec"
    overrides = {f"{wordpiecer}.separator": "|", "components.trf_textcat.pooling": "max"}
    assert fitted(100, overrides=overrides).pipeline_overrides == {f"{wordpiecer}.separator": "|"}
    config = spacy.util.load_config(SHIPPED, interpolate=False)
    config["components"]["trf_wordpiecer"].update(segments="doc", max_length=64)
    config["components"]["trf_tok2vec"].update(keep=["last_hidden_state"], device="cpu")
    config.to_disk(tmp_path / "own.cfg")
    own = fitted(100, config=tmp_path / "own.cfg", overrides={f"{wordpiecer}.max_length": 32})
    assert own.pipeline_overrides == {
        f"{wordpiecer}.segments": "doc",
        f"{wordpiecer}.long_sentences": "window",
        f"{wordpiecer}.max_length": 32,
        f"{encoder}.words_per_batch": None,
        f"{encoder}.keep": ["last_hidden_state"],
    }


def test_unknown_setting_of_a_component_in_the_config_is_an_error(tmp_path: Path) -> None:
    config = spacy.util.load_config(SHIPPED, interpolate=False)
    config["components"]["trf_wordpiecer"]["max_lenght"] = 64
    config.to_disk(tmp_path / "own.cfg")
    with pytest.raises(DataError, match=r"own\.cfg: .*max_lenght"):
        fitted(100, config=tmp_path / "own.cfg")


def test_missing_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        TrainingConfig(TrainingArguments(config=tmp_path / "a.cfg"), exclusive=True)


@pytest.mark.parametrize(
    ("rate", "text"), [(1e-4, "1e-4"), (4.72e-5, "4.7e-5"), (0.3, "3e-1"), (0.0, "0")]
)
def test_learning_rates_are_written_in_scientific_notation(rate: float, text: str) -> None:
    assert format_rate(rate) == text
