import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from wrapped import ALL, KINDS, load, make_gradients

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.encoder.precision import (
    limit_kernel_caches,
    make_grad_scaler,
    resolve_precision,
    to_float32,
)
from trfcli_pipeline.errors import DeviceError, PipelineError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LENGTHS = [7, 12, 0, 30, 3]
INPUT = WordPieces(
    ids=np.random.default_rng(0).integers(5, 100, sum(LENGTHS)),
    lengths=np.array(LENGTHS, dtype=np.int32),
)


@pytest.mark.parametrize("has_it", [True, False])
@pytest.mark.parametrize(
    "size", [{"width": 768, "n_pieces": 32 * 12}, {"width": 384, "n_pieces": 256 * 256}]
)
def test_auto_is_bf16_on_gpus_that_support_it(
    monkeypatch: pytest.MonkeyPatch, has_it: bool, size: dict[str, int]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    assert resolve_precision("auto", CUDA, **size) == ("bf16" if has_it else "fp32")
    assert resolve_precision("auto", torch.device("mps"), **size) == "fp32"


@pytest.mark.parametrize("size", [{"width": 384, "n_pieces": 256 * 12}, {}])
def test_auto_is_fp32_for_small_updates_of_narrow_encoders_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, size: dict[str, int]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert resolve_precision("auto", CUDA, **size) == "fp32"
    assert resolve_precision("bf16", CUDA, **size) == "bf16"


def test_auto_is_chosen_for_the_updates_that_are_expected(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    for first, expected in ((100, "fp32"), (10**8, "bf16")):
        shim = load(tiny_bert, precision="auto").shim
        shim.device = CUDA
        shim.expect_updates(first)
        # It stays, whatever the size of later updates.
        shim.expect_updates(10**8)
        assert shim.precision == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_is_bf16_on_cpus_with_bfloat16_instructions(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("fp32", CPU) == "fp32"


def test_auto_is_fp32_if_torch_does_not_know_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert resolve_precision("auto", CPU) == "fp32"


def test_kernel_caches_are_limited_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    for name in names:
        # Set first, so that monkeypatch restores it.
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    limit_kernel_caches(CUDA)
    assert not any(name in os.environ for name in names)
    monkeypatch.setenv(names[1], "7")
    limit_kernel_caches(CPU)
    assert 0 < int(os.environ[names[0]]) < 100
    # The user's own setting is kept.
    assert os.environ[names[1]] == "7"


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_a_supported_precision_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision(name, CPU) == name
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device_type: False)
    if name == "fp32":
        assert resolve_precision(name, CPU) == name
    else:
        with pytest.raises(DeviceError, match=f"cpu: can't train in {name}"):
            resolve_precision(name, CPU)


def test_an_unknown_precision_is_an_error() -> None:
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        resolve_precision("half", CPU)


def test_gradients_are_scaled_only_in_fp16() -> None:
    values = [torch.ones(2), torch.ones(3)]
    for name in ("fp32", "bf16"):
        scaled = make_grad_scaler(name, CPU).scale(values)
        assert all(one is other for one, other in zip(scaled, values, strict=True))
    assert make_grad_scaler("fp16", CPU).scale(values)[0].tolist() == [2.0**16] * 2


def test_tensors_and_tuples_are_converted_to_float32() -> None:
    half = torch.ones(2, dtype=torch.bfloat16)
    assert to_float32(half).dtype == torch.float32
    assert [each.dtype for each in to_float32((half, half))] == [torch.float32] * 2
    assert to_float32(None) is None


def train(path: Path, precision: str, **settings: Any) -> tuple[Activations, torch.Tensor]:
    """The outputs, and the flattened gradients of the weights before scaling."""
    wrapper = load(path, **ALL, **settings)
    wrapper.shim.prepare_training(precision=precision)
    Y, backprop = wrapper.begin_update(INPUT)
    # As small as with a mean loss: larger ones would overflow in fp16 when scaled.
    backprop(make_gradients(Y, KINDS, scale=1e-2))
    scale = wrapper.shim.adamw.scaler.get_scale()
    found = [each.grad.flatten() / scale for each in wrapper.shim.module.parameters()]
    return Y, torch.cat(found)


@pytest.mark.parametrize("keeps_graphs", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.02)])
def test_gradients_equal_those_in_float32_up_to_rounding(
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    tolerance: float,
    keeps_graphs: bool,
) -> None:
    if not keeps_graphs:
        monkeypatch.setattr("trfcli_pipeline.encoder.updates.graph_budget", lambda device: 0)
    exact, expected = train(tiny_bert, "fp32")
    Y, found = train(tiny_bert, precision, words_per_batch=30)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < tolerance * expected.norm()
    for kind in ("last_hidden_state", "pooler_output"):
        assert getattr(Y, kind).dtype == np.float32
        np.testing.assert_allclose(getattr(Y, kind), getattr(exact, kind), atol=tolerance)
        assert not np.array_equal(getattr(Y, kind), getattr(exact, kind))


def test_predictions_are_always_in_float32(tiny_bert: Path) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        wrapper = load(tiny_bert)
        wrapper.shim.prepare_training(precision=precision)
        found.append(wrapper.predict(INPUT).last_hidden_state)
    assert np.array_equal(*found)


def test_the_precision_may_be_set_in_the_model(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert, precision="bf16")
    wrapper.shim.prepare_training()
    assert wrapper.shim.precision == "bf16"
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        wrapper.shim.prepare_training(precision="half")
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        TransformersWrapper(precision="half")


def attentions_used(wrapper: TransformersWrapper, n_pieces: int) -> list[str]:
    """The attention implementations of an update and a prediction."""
    used = []
    hook = wrapper.shim.module.register_forward_pre_hook(
        lambda module, _: used.append(module.config._attn_implementation)
    )
    X = WordPieces(np.full(n_pieces, 7), np.array([n_pieces], dtype=np.int32))
    wrapper.begin_update(X)
    wrapper.predict(X)
    hook.remove()
    return used


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_short_rows_are_trained_with_eager_attention(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.precision._EAGER_ATTENTION_PIECES", 20)
    wrapper = load(tiny_bert, precision=precision)
    assert attentions_used(wrapper, 20) == ["eager", "sdpa"]
    assert attentions_used(wrapper, 21) == ["sdpa", "sdpa"]


def test_training_in_float32_uses_sdpa(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    assert attentions_used(wrapper, 10) == ["sdpa", "sdpa"]


def n_conversions(wrapper: TransformersWrapper) -> int:
    """Count how often an update's forward pass converts one kind of weight to bfloat16."""
    shape = list(wrapper.shim.module.encoder.layer[0].intermediate.dense.weight.shape)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True, acc_events=True
    ) as profile:
        wrapper.begin_update(INPUT)
    return sum(
        event.count
        for event in profile.key_averages(group_by_input_shape=True)
        if event.key == "aten::_to_copy" and event.input_shapes[0] == shape
    )


def test_weights_are_converted_once_per_update(tiny_bert: Path) -> None:
    found = []
    for words_per_batch in (0, 1):
        wrapper = load(tiny_bert, precision="bf16", words_per_batch=words_per_batch)
        found.append(n_conversions(wrapper))
    assert found == [2, 2]
