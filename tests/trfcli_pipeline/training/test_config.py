import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.config import TrainingArguments, TrainingConfig, config_path


def fitted(n_texts: int, settings: TrainingArguments | None = None) -> TrainingConfig:
    recipe = TrainingConfig(settings or TrainingArguments(), exclusive=True)
    recipe.fit(n_texts)
    return recipe


@given(st.integers(1, 200_000))
def test_steps_follow_from_texts_batches_and_epochs(n_texts: int) -> None:
    recipe = fitted(n_texts)
    assert recipe.steps == math.ceil(n_texts / recipe.batch_size) * recipe.epochs
    assert recipe.steps >= 200
    assert recipe.warmup_steps == math.ceil(recipe.steps / 10)
    assert recipe.T["max_steps"] == recipe.steps


def test_thousands_of_texts_get_what_the_config_says() -> None:
    recipe = fitted(5000)
    assert (recipe.batch_size, recipe.epochs, recipe.size_rule) == (32, 3, None)


def test_few_texts_get_more_epochs_of_smaller_batches() -> None:
    recipe = fitted(48)
    assert (recipe.batch_size, recipe.epochs, recipe.steps) == (16, 67, 201)
    assert recipe.size_rule == "Few texts: 67 epochs of them, to take at least 200 steps"
    assert recipe.T["eval_frequency"] == 7 * 3


def test_every_epoch_is_evaluated_unless_few_texts_get_many() -> None:
    assert fitted(5000).T["eval_frequency"] == math.ceil(5000 / 32)
    assert fitted(48, TrainingArguments(epochs=67)).T["eval_frequency"] == 3
    assert fitted(48, TrainingArguments(eval_every=2)).T["eval_frequency"] == 2
    assert fitted(320).T["eval_frequency"] == 20


@given(n_texts=st.integers(1, 3000))
def test_the_shipped_recipe_is_evaluated_ten_times_at_most(n_texts: int) -> None:
    recipe = fitted(n_texts)
    assert 1 <= math.ceil(recipe.steps / recipe.T["eval_frequency"]) <= 10


def test_a_classifier_of_few_texts_starts_at_a_probe() -> None:
    assert fitted(48).starts_at_probe
    assert fitted(48, TrainingArguments(epochs=3, batch_size=8)).starts_at_probe
    assert not fitted(5000).starts_at_probe
    assert not fitted(48, TrainingArguments(config=config_path("textcat.cfg"))).starts_at_probe
    assert not fitted(48, TrainingArguments(architecture="other.Classifier.v1")).starts_at_probe


def test_many_texts_get_fewer_epochs() -> None:
    recipe = fitted(100_000)
    assert (recipe.batch_size, recipe.epochs) == (32, 2)
    assert recipe.size_rule == "Many texts: 2 epochs of them are enough"


def test_what_the_user_asks_for_counts_for_more_than_the_size() -> None:
    recipe = fitted(48, TrainingArguments(epochs=3, batch_size=8))
    assert (recipe.batch_size, recipe.epochs, recipe.size_rule) == (8, 3, None)
    recipe = fitted(48, TrainingArguments(config=config_path("textcat.cfg")))
    assert (recipe.batch_size, recipe.epochs, recipe.size_rule) == (32, 3, None)


def test_the_encoders_rate_falls_with_the_number_of_steps() -> None:
    full = fitted(3200)
    assert (full.steps, full.trf_lr, full.rate_rule) == (300, 1e-4, None)
    lower = fitted(6400)
    assert lower.steps == 600
    assert lower.trf_lr == pytest.approx(5e-5)
    assert lower.rate_rule == "1e-04 for up to 300 steps"
    assert lower.learn_rate == full.learn_rate
    rates = [lower.optimizer.trf_lr]
    for _ in range(lower.steps):
        lower.optimizer.step_schedules()
        rates.append(lower.optimizer.trf_lr)
    assert max(rates) == pytest.approx(5e-5)
    assert fitted(100_000).trf_lr == 2e-5


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        (TrainingArguments(learn_rate=2e-4), 2e-4),
        (TrainingArguments(lora=4), 1e-3),
        (TrainingArguments(config=config_path("textcat.cfg")), 1e-4),
    ],
    ids=["asked for", "adapters", "config"],
)
def test_a_rate_of_other_origin_does_not_fall(settings: TrainingArguments, rate: float) -> None:
    recipe = fitted(100_000, settings)
    assert (recipe.trf_lr, recipe.rate_rule) == (rate, None)


def test_the_rates_start_at_zero_and_end_at_zero() -> None:
    recipe = fitted(5000, TrainingArguments(learn_rate=2e-5))
    rates = []
    for _ in range(recipe.steps + 1):
        rates.append(recipe.optimizer.trf_lr)
        recipe.optimizer.step_schedules()
    assert rates[0] == rates[-1] == 0.0
    assert max(rates) == rates[recipe.warmup_steps] == pytest.approx(2e-5)
    assert recipe.trf_lr == 2e-5


def test_accumulated_batches_make_fewer_steps() -> None:
    assert fitted(5000, TrainingArguments(accumulate=4)).steps == 3 * math.ceil(
        math.ceil(5000 / 32) / 4
    )


def test_a_frozen_encoder_has_no_rate() -> None:
    assert fitted(5000, TrainingArguments(freeze_encoder=True)).trf_lr is None


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such config file"):
        TrainingConfig(TrainingArguments(config=tmp_path / "a.cfg"), exclusive=True)
