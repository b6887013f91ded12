from importlib.metadata import entry_points

import numpy as np
import pytest
from spacy import registry
from thinc.api import Adam, Config, Optimizer

from trfcli_pipeline.pipeline.optimizer import (
    TransformersOptimizer,
)

NAME = "trfcli.AdamW.v1"


def test_the_default_rates() -> None:
    optimizer = TransformersOptimizer()
    assert isinstance(optimizer, TransformersOptimizer)
    assert optimizer.learn_rate == 1e-3
    assert optimizer.trf_lr == 5e-5
    assert optimizer.trf_weight_decay == 0.01
    assert optimizer.grad_clip == 1.0
    assert optimizer.trf_layer_decay == 1.0
    assert optimizer.averages is None


def test_the_entry_point_is_registered() -> None:
    (entry_point,) = entry_points(group="thinc_optimizers", name=NAME)
    assert entry_point.load() is TransformersOptimizer
    assert registry.optimizers.get(NAME) is TransformersOptimizer


def test_the_optimizer_can_be_set_in_a_config() -> None:
    config = Config().from_str(
        f"""
        [optimizer]
        @optimizers = {NAME}
        learn_rate = 0.002
        trf_lr = 0.00003
        trf_weight_decay = 0.1
        trf_layer_decay = 0.9
        grad_clip = 0.0
        use_averages = true
        """
    )
    optimizer = registry.resolve(config)["optimizer"]
    assert isinstance(optimizer, TransformersOptimizer)
    assert isinstance(optimizer, Optimizer)
    assert optimizer.learn_rate == 0.002
    assert optimizer.trf_lr == 0.00003
    assert optimizer.trf_weight_decay == 0.1
    assert optimizer.trf_layer_decay == 0.9
    assert optimizer.grad_clip == 0.0
    assert optimizer.averages == {}


def test_the_learning_rate_of_heads_does_not_affect_the_encoder() -> None:
    assert TransformersOptimizer(learn_rate=0.5).trf_lr == 5e-5
    assert TransformersOptimizer(trf_lr=0.5).learn_rate == 1e-3


@pytest.mark.parametrize("name", ["learn_rate", "trf_lr", "trf_weight_decay"])
def test_learning_rates_can_be_schedules(name: str) -> None:
    optimizer = TransformersOptimizer(**{name: iter([0.3, 0.2, 0.1])})
    seen = [getattr(optimizer, name)]
    for _ in range(2):
        optimizer.step_schedules()
        seen.append(getattr(optimizer, name))
    assert seen == [0.3, 0.2, 0.1]


def test_schedules_from_a_config() -> None:
    config = Config().from_str(
        f"""
        [optimizer]
        @optimizers = {NAME}

        [optimizer.trf_lr]
        @schedules = warmup_linear.v1
        initial_rate = 0.0001
        warmup_steps = 2
        total_steps = 4
        """
    )
    optimizer = registry.resolve(config)["optimizer"]
    rates = []
    for _ in range(4):
        rates.append(optimizer.trf_lr)
        optimizer.step_schedules()
    assert rates == pytest.approx([0.0, 0.00005, 0.0001, 0.00005])


def test_a_rate_that_is_neither_number_nor_schedule_is_an_error() -> None:
    with pytest.raises(ValueError, match="trf_lr"):
        TransformersOptimizer(trf_lr="fast")


@pytest.mark.parametrize("grad_clip", [0.0, 0.1, 1.0])
def test_heads_are_trained_by_thincs_adam(grad_clip: float) -> None:
    ours = TransformersOptimizer(learn_rate=0.01, grad_clip=grad_clip)
    thincs = Adam(0.01, grad_clip=grad_clip, use_averages=False)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3)).astype("f")
    one, other = weights.copy(), weights.copy()
    for _ in range(3):
        gradient = rng.normal(size=(4, 3)).astype("f")
        one, _ = ours((1, "W"), one, gradient.copy())
        other, _ = thincs((1, "W"), other, gradient.copy())
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(one, weights)
