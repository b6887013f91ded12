import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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
    type_ids=None,
)


@pytest.mark.parametrize("has_it", [True, False])
def test_what_auto_means(monkeypatch: pytest.MonkeyPatch, has_it: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_it)
    assert resolve_precision("auto", CUDA) == ("bf16" if has_it else "fp32")
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_what_auto_means_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("fp32", CPU) == "fp32"


def test_a_torch_that_does_not_know_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert resolve_precision("auto", CPU) == "fp32"


def test_kernels_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
    for name in names:
        # Set first, so that it is put back in the end.
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)
    limit_kernel_caches(CUDA)
    assert not any(name in os.environ for name in names)
    monkeypatch.setenv(names[1], "7")
    limit_kernel_caches(CPU)
    assert 0 < int(os.environ[names[0]]) < 100
    # The user's own setting stays.
    assert os.environ[names[1]] == "7"


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision(name, CPU) == name
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device_type: False)
    if name == "fp32":
        assert resolve_precision(name, CPU) == name
    else:
        with pytest.raises(DeviceError, match=f"cpu: can't train in {name}"):
            resolve_precision(name, CPU)


def test_other_names_are_wrong() -> None:
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        resolve_precision("half", CPU)


def test_only_fp16_needs_a_scaler() -> None:
    values = [torch.ones(2), torch.ones(3)]
    for name in ("fp32", "bf16"):
        scaled = make_grad_scaler(name, CPU).scale(values)
        assert all(one is other for one, other in zip(scaled, values, strict=True))
    assert make_grad_scaler("fp16", CPU).scale(values)[0].tolist() == [2.0**16] * 2


def test_outputs_of_all_kinds_become_float32() -> None:
    half = torch.ones(2, dtype=torch.bfloat16)
    assert to_float32(half).dtype == torch.float32
    assert [each.dtype for each in to_float32((half, half))] == [torch.float32] * 2
    assert to_float32(None) is None


def random_like(value: Any, generator: np.random.Generator) -> Any:
    if isinstance(value, list):
        return [random_like(each, generator) for each in value]
    # As small as those of a batch's mean loss: in fp16, others would overflow once scaled.
    return generator.normal(scale=1e-2, size=value.shape).astype("f")


def train(path: Path, precision: str, **settings: Any) -> tuple[Activations, torch.Tensor]:
    """Outputs and the gradients of the weights, in one row, as the optimizer sees them."""
    wrapper = TransformersWrapper(
        device="cpu", all_hidden_states=True, all_attentions=True, **settings
    )
    wrapper.from_disk(path)
    wrapper.shim.prepare_training(precision=precision)
    Y, backprop = wrapper.begin_update(INPUT)
    generator = np.random.default_rng(1)
    kinds = ("last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions")
    gradients = {kind: random_like(getattr(Y, kind), generator) for kind in kinds}
    backprop(Activations(**gradients, lengths=Y.lengths, is_grad=True))
    scale = wrapper.shim.adamw.scaler.get_scale()
    found = [each.grad.flatten() / scale for each in wrapper.shim.module.parameters()]
    return Y, torch.cat(found)


@pytest.mark.parametrize("keeps_graphs", [True, False])
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.02)])
def test_gradients_are_those_of_float32_but_for_rounding(
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


def test_predictions_stay_exact(tiny_bert: Path) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        wrapper = TransformersWrapper(device="cpu")
        wrapper.from_disk(tiny_bert)
        wrapper.shim.prepare_training(precision=precision)
        found.append(wrapper.predict(INPUT).last_hidden_state)
    assert np.array_equal(*found)


def test_the_precision_can_be_a_setting_of_the_model(tiny_bert: Path) -> None:
    wrapper = TransformersWrapper(device="cpu", precision="bf16")
    wrapper.from_disk(tiny_bert)
    wrapper.shim.prepare_training()
    assert wrapper.shim.precision == "bf16"
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        wrapper.shim.prepare_training(precision="half")
    with pytest.raises(PipelineError, match="precision: unknown value 'half'"):
        TransformersWrapper(precision="half")


def attentions_used(wrapper: TransformersWrapper, n_pieces: int) -> list[str]:
    """The attention of each forward pass of an update and of a prediction."""
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
def test_short_rows_are_trained_with_attention_by_matrix_products(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.precision._EAGER_ATTENTION_PIECES", 20)
    wrapper = TransformersWrapper(device="cpu", precision=precision)
    wrapper.from_disk(tiny_bert)
    assert attentions_used(wrapper, 20) == ["eager", "sdpa"]
    assert attentions_used(wrapper, 21) == ["sdpa", "sdpa"]


def test_float32_leaves_attention_alone(tiny_bert: Path) -> None:
    wrapper = TransformersWrapper(device="cpu")
    wrapper.from_disk(tiny_bert)
    assert attentions_used(wrapper, 10) == ["sdpa", "sdpa"]


def n_conversions(wrapper: TransformersWrapper) -> int:
    """How often an update's forward pass converts a weight of a layer to bfloat16."""
    shape = list(wrapper.shim.module.encoder.layer[0].intermediate.dense.weight.shape)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    ) as profile:
        wrapper.begin_update(INPUT)
    return sum(
        event.count
        for event in profile.key_averages(group_by_input_shape=True)
        if event.key == "aten::_to_copy" and event.input_shapes[0] == shape
    )


def test_weights_are_converted_once_for_all_sub_batches(tiny_bert: Path) -> None:
    found = []
    for words_per_batch in (0, 1):
        wrapper = TransformersWrapper(
            device="cpu", precision="bf16", words_per_batch=words_per_batch
        )
        wrapper.from_disk(tiny_bert)
        found.append(n_conversions(wrapper))
    assert found == [2, 2]
