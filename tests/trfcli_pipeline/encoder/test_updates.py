import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinc.api import set_dropout_rate
from wrapped import (
    ALL,
    KINDS,
    assert_bit_equal,
    assert_gradients_close,
    gradients_of,
    load,
    make_gradients,
    make_input,
    plain_gradients,
    plain_model,
    simulate_memory,
    split,
    update,
)

from trfcli_pipeline.encoder.memory_budget import graph_bytes
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.errors import DeviceError


def limit_graphs(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """Limit the graphs of an update to this many bytes."""
    monkeypatch.setattr("trfcli_pipeline.encoder.updates.graph_budget", lambda device: budget)


# Gradients


@pytest.mark.parametrize(
    ("words_per_batch", "room"),
    [(0, True), (7, True), (50, True), (2000, True), (0, False), (7, False)],
)
def test_gradients_equal_those_of_the_plain_model(
    encoder: Path, words_per_batch: int, room: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not room:
        limit_graphs(monkeypatch, 0)
    X = make_input()
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    Y, backprop = wrapper.begin_update(X)
    kinds = [kind for kind in KINDS if getattr(Y, kind) is not None]
    d_Y = make_gradients(Y, kinds)
    backprop(d_Y)
    expected = plain_gradients(plain_model(encoder, attentions=True), X, d_Y)
    assert_gradients_close(gradients_of(wrapper.shim.module), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_may_come_from_one_output_only(tiny_bert: Path, kind: str) -> None:
    X = make_input()
    attentions = kind == "all_attentions"
    wrapper = load(
        tiny_bert,
        words_per_batch=50,
        all_hidden_states=kind == "all_hidden_states",
        all_attentions=attentions,
    )
    Y, backprop = wrapper.begin_update(X)
    d_Y = make_gradients(Y, [kind])
    backprop(d_Y)
    expected = plain_gradients(plain_model(tiny_bert, attentions=attentions), X, d_Y)
    assert_gradients_close(gradients_of(wrapper.shim.module), expected)


def test_gradients_accumulate_until_the_step(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    update(wrapper, make_input())
    once = gradients_of(wrapper.shim.module)
    update(wrapper, make_input())
    twice = {name: 2 * each for name, each in once.items()}
    assert_gradients_close(gradients_of(wrapper.shim.module), twice)


def test_a_prediction_between_forward_and_backward_pass_changes_nothing(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_graphs(monkeypatch, 0)
    gradients = []
    for predict_between in (False, True):
        wrapper = load(tiny_bert)
        set_dropout_rate(wrapper, 0.3)
        torch.manual_seed(0)
        Y, backprop = wrapper.begin_update(make_input())
        if predict_between:
            wrapper.predict(make_input())
        backprop(make_gradients(Y, ["last_hidden_state"]))
        gradients.append(gradients_of(wrapper.shim.module))
    assert_gradients_close(gradients[1], gradients[0], tolerance=1e-6)


# Dropout


def test_an_update_without_dropout_gives_the_outputs_of_a_prediction(encoder: Path) -> None:
    wrapper = load(encoder, words_per_batch=50)
    predicted = wrapper.predict(make_input())
    for rate in (None, 0.0):
        if rate is not None:
            set_dropout_rate(wrapper, rate)
        first, second = update(wrapper, make_input()), update(wrapper, make_input())
        assert_bit_equal(first, second)
        np.testing.assert_allclose(
            first.last_hidden_state, predicted.last_hidden_state, rtol=0, atol=1e-6
        )


def test_dropout_applies_only_to_updates(encoder: Path) -> None:
    wrapper = load(encoder)
    predicted = wrapper.predict(make_input())
    set_dropout_rate(wrapper, 0.3)
    first, second = update(wrapper, make_input()), update(wrapper, make_input())
    assert not np.allclose(first.last_hidden_state, predicted.last_hidden_state, atol=1e-2)
    assert not np.allclose(first.last_hidden_state, second.last_hidden_state, atol=1e-2)
    assert_bit_equal(wrapper.predict(make_input()), predicted)


def test_the_dropout_rate_applies_only_to_layers_with_dropout(
    tiny_bert: Path, tmp_path: Path
) -> None:
    path = tmp_path / "encoder"
    shutil.copytree(tiny_bert, path)
    config = json.loads((path / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.0}
    (path / "config.json").write_text(json.dumps(config))
    wrapper = load(path)
    set_dropout_rate(wrapper, 0.5)
    wrapper.begin_update(make_input())
    rates = {
        ".".join(name.split(".")[-2:]): part.p
        for name, part in wrapper.shim.module.named_modules()
        if isinstance(part, torch.nn.Dropout)
    }
    assert rates == {"embeddings.dropout": 0.5, "self.dropout": 0.0, "output.dropout": 0.5}


# Memory


def count_calls(wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record for each sub-batch encoded from now on whether it has a graph."""
    calls: list[bool] = []
    encode = wrapper.shim.encode

    def counting(batch: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return encode(batch)

    monkeypatch.setattr(wrapper.shim, "encode", counting)
    return calls


@pytest.mark.parametrize("n_fitting", [0, 1, 3, None])
def test_sub_batches_whose_graphs_do_not_fit_are_recomputed(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, n_fitting: int | None
) -> None:
    wrapper = load(tiny_bert, words_per_batch=50)
    sizes = [graph_bytes(wrapper.shim, batch.shape) for batch in split(wrapper, make_input())]
    assert len(sizes) > 3
    n = len(sizes)
    fitting = n if n_fitting is None else n_fitting
    limit_graphs(monkeypatch, sum(sizes[:fitting]) + 1)
    calls = count_calls(wrapper, monkeypatch)
    Y, backprop = wrapper.begin_update(make_input())
    assert calls == [True] * fitting + [False] * (n - fitting)
    backprop(make_gradients(Y, ["last_hidden_state"]))
    assert calls[n:] == [True] * (n - fitting)


@pytest.mark.parametrize(
    ("words_per_batch", "n_fitting"), [(0, 0), (7, 0), (7, 2), (50, 2), (2000, 0)]
)
def test_recomputing_drops_the_same_units(
    encoder: Path, monkeypatch: pytest.MonkeyPatch, words_per_batch: int, n_fitting: int
) -> None:
    X = make_input()
    gradients, outputs = [], []
    for room in (True, False):
        wrapper = load(encoder, words_per_batch=words_per_batch)
        set_dropout_rate(wrapper, 0.3)
        if not room:
            sizes = [graph_bytes(wrapper.shim, batch.shape) for batch in split(wrapper, X)]
            limit_graphs(monkeypatch, sum(sizes[:n_fitting]) + 1 if n_fitting else 0)
        torch.manual_seed(7)
        Y, backprop = wrapper.begin_update(X)
        # The heads also draw random numbers.
        torch.rand(5)
        state = torch.get_rng_state()
        backprop(make_gradients(Y, ["last_hidden_state"]))
        assert torch.equal(torch.get_rng_state(), state)
        outputs.append(Y.last_hidden_state)
        gradients.append(gradients_of(wrapper.shim.module))
    # Bit for bit: how much memory is free must not change what is learned.
    np.testing.assert_array_equal(outputs[0], outputs[1])
    for name, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradient, gradients[1][name])


@pytest.mark.parametrize("words_per_batch", [0, 50, 200, "auto"])
@pytest.mark.parametrize(("room", "graphs"), [(64, 64), (130, 64), (1000, 64), (1000, 130)])
def test_an_update_succeeds_after_memory_ran_out(
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words_per_batch: int | str,
    room: int,
    graphs: int,
) -> None:
    X = make_input()
    wrapper = load(encoder, words_per_batch=words_per_batch, **ALL)
    tried = simulate_memory(wrapper, monkeypatch, room=room, graphs=graphs)
    for _ in range(2):
        wrapper.shim.module.zero_grad()
        Y, backprop = wrapper.begin_update(X)
        d_Y = make_gradients(Y, [kind for kind in KINDS if getattr(Y, kind) is not None])
        backprop(d_Y)
        expected = plain_gradients(plain_model(encoder, attentions=True), X, d_Y)
        assert_gradients_close(gradients_of(wrapper.shim.module), expected)
    assert any(with_graph and size > graphs for size, with_graph in tried) == (
        words_per_batch == 0 or (words_per_batch != 50 and graphs == 64)
    )


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_no_gradient_counts_twice_if_memory_runs_out_in_the_backward_pass(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    X = make_input()
    wrapper = load(tiny_bert, words_per_batch=200)
    set_dropout_rate(wrapper, dropout)
    expected = []
    grad = torch.autograd.grad
    failed: list[int] = []

    def limited(outputs: Any, *arguments: Any, **options: Any) -> Any:
        found = grad(outputs, *arguments, **options)
        if outputs[0].shape[:2].numel() > 64:
            # After the gradients were computed.
            failed.append(outputs[0].shape[:2].numel())
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return found

    for simulated in (False, True):
        if simulated:
            monkeypatch.setattr(torch.autograd, "grad", limited)
        torch.manual_seed(3)
        Y, backprop = wrapper.begin_update(X)
        state = torch.get_rng_state()
        backprop(make_gradients(Y, ["last_hidden_state", "pooler_output"]))
        assert torch.equal(torch.get_rng_state(), state)
        expected.append(gradients_of(wrapper.shim.module))
        wrapper.shim.module.zero_grad()
    assert len(failed) > 1
    assert failed == sorted(failed, reverse=True)
    if dropout:
        # The parts drop other units than the whole.
        norms = [sum(float(each.norm()) ** 2 for each in which.values()) for which in expected]
        assert norms[1] == pytest.approx(norms[0], rel=0.5)
    else:
        assert_gradients_close(expected[1], expected[0])


def test_an_update_that_fails_leaves_no_gradient(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch=50)
    # Each sub-batch has its own backward pass.
    limit_graphs(monkeypatch, 0)
    Y, backprop = wrapper.begin_update(make_input())
    grad = torch.autograd.grad
    n_calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return grad(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", failing)
    with pytest.raises(DeviceError, match="not enough memory"):
        backprop(make_gradients(Y, ["last_hidden_state"]))
    assert not any(each.any() for each in gradients_of(wrapper.shim.module).values())
