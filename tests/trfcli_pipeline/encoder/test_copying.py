"""Copies of a model: `model.copy()`, `copy.deepcopy` and pickle."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from extras import needs_openvino
from thinc.api import Model, Optimizer, chain, set_dropout_rate
from wrapped import ALL, assert_bit_equal, gradients_of, load, make_input, parameters_of, update

from trfcli_pipeline.encoder.backends import Encoder, InferenceConfig, cast_weights
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

Copy = Callable[[TransformersWrapper], TransformersWrapper]
FULL_COPIES: list[Copy] = [TransformersWrapper.copy, copy.deepcopy]


def repickle(wrapper: TransformersWrapper) -> TransformersWrapper:
    return pickle.loads(pickle.dumps(wrapper))


def assert_equal_weights(one: TransformersWrapper, other: TransformersWrapper) -> None:
    weights, others = parameters_of(one.shim.module), parameters_of(other.shim.module)
    assert weights.keys() == others.keys()
    assert all(torch.equal(each, others[name]) for name, each in weights.items())


def train(wrapper: TransformersWrapper, optimizer: Optimizer, n_steps: int = 2) -> None:
    for _ in range(n_steps):
        update(wrapper, make_input())
        wrapper.finish_update(optimizer)


@pytest.mark.parametrize("make_copy", [*FULL_COPIES, repickle])
def test_a_copy_predicts_the_same(encoder: Path, make_copy: Copy) -> None:
    wrapper = load(encoder, words_per_batch=50, **ALL)
    set_dropout_rate(wrapper, 0.3)
    # A module that has returned hidden states has hooks that refer to it.
    expected = wrapper.predict(make_input())
    copied = make_copy(wrapper)
    assert isinstance(copied, TransformersWrapper)
    assert copied.attrs == wrapper.attrs
    assert copied.get_dim("nO") == wrapper.get_dim("nO")
    assert_bit_equal(copied.predict(make_input()), expected)


@pytest.mark.parametrize("make_copy", [*FULL_COPIES, repickle])
def test_training_a_copy_leaves_the_original_unchanged(tiny_bert: Path, make_copy: Copy) -> None:
    wrapper, untouched = load(tiny_bert, **ALL), load(tiny_bert, **ALL)
    expected = wrapper.predict(make_input())
    copied = make_copy(wrapper)
    train(copied, TransformersOptimizer(trf_lr=1e-2))
    assert_equal_weights(wrapper, untouched)
    assert_bit_equal(wrapper.predict(make_input()), expected)
    assert (copied.predict(make_input()).last_hidden_state != expected.last_hidden_state).any()
    # The hidden states are those of the copy, not of the original.
    trained = copied.predict(make_input())
    assert (trained.all_hidden_states[-1] == trained.last_hidden_state).all()


@pytest.mark.parametrize("make_copy", FULL_COPIES)
@pytest.mark.parametrize("lora_rank", [None, 4])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_copy_continues_training_like_the_original(
    tiny_bert: Path, make_copy: Copy, lora_rank: int | None, precision: str
) -> None:
    """The copy has the optimizer's state, averages, adapters and the scale of fp16."""
    wrapper = load(tiny_bert)
    wrapper.shim.prepare_training(lora_rank=lora_rank, precision=precision)
    optimizer = TransformersOptimizer(trf_lr=1e-2, use_averages=True)
    train(wrapper, optimizer)
    copied = make_copy(wrapper)
    for each in (wrapper, copied):
        train(each, optimizer)
    assert_equal_weights(wrapper, copied)
    with wrapper.use_params({}), copied.use_params({}):
        assert_equal_weights(wrapper, copied)
    assert_bit_equal(wrapper.predict(make_input()), copied.predict(make_input()))
    assert wrapper.to_bytes() == copied.to_bytes()
    state = wrapper.shim.adamw.state_dict()
    assert all(
        torch.equal(each, state[key]) for key, each in copied.shim.adamw.state_dict().items()
    )


@pytest.mark.parametrize("make_copy", FULL_COPIES)
def test_a_copy_has_the_gradients_that_wait_for_a_step(tiny_bert: Path, make_copy: Copy) -> None:
    wrapper = load(tiny_bert)
    update(wrapper, make_input())
    copied = make_copy(wrapper)
    own, others = gradients_of(wrapper.shim.module), gradients_of(copied.shim.module)
    assert any(each.any() for each in own.values())
    assert all(torch.equal(each, others[name]) for name, each in own.items())
    update(copied, make_input())
    assert all(
        torch.equal(each, own[name]) for name, each in gradients_of(wrapper.shim.module).items()
    )


def test_a_layer_of_another_model_is_copied_with_it(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    rows: Model = Model("rows", lambda model, X, is_train: (X.last_hidden_state, lambda dY: dY))
    copied = chain(wrapper, rows).copy()
    layer = copied.layers[0]
    assert isinstance(layer, TransformersWrapper)
    assert layer.shim.module is not wrapper.shim.module
    assert (copied.predict(make_input()) == wrapper.predict(make_input()).last_hidden_state).all()


@pytest.mark.parametrize("make_copy", [*FULL_COPIES, repickle])
@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_an_optimized_encoder_can_be_copied(tiny_bert: Path, make_copy: Copy, backend: str) -> None:
    wrapper = load(tiny_bert)
    old = wrapper.shim.encoder
    if backend == "torch":
        wrapper.shim.encoder = cast_weights(old, InferenceConfig("torch", "bf16"))
    else:
        module = convert(old.module, old.capabilities, "fp32", all_hidden_states=False, examples=[])
        wrapper.shim.encoder = Encoder(
            module, old.capabilities, InferenceConfig("openvino", "fp32")
        )
    expected = wrapper.predict(make_input())
    copied = make_copy(wrapper)
    assert copied.shim.inference == wrapper.shim.inference
    assert_bit_equal(copied.predict(make_input()), expected)


@pytest.mark.parametrize("make_copy", [*FULL_COPIES, repickle])
def test_a_model_without_weights_can_be_copied(tiny_bert: Path, make_copy: Copy) -> None:
    copied = make_copy(TransformersWrapper(device="cpu", all_hidden_states=True))
    assert not copied.shim.is_loaded
    assert copied.from_disk(tiny_bert).predict(make_input()).all_hidden_states is not None
