from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wrapped import load, make_input

from trfcli_pipeline.encoder import recurring_shapes
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.recurring_shapes import can_capture, recurring_shape
from trfcli_pipeline.encoder.sub_batches import sub_batches


@pytest.fixture
def wrapper(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> TransformersWrapper:
    """An encoder on a device that can capture kernels."""
    monkeypatch.setattr(recurring_shapes, "can_capture", lambda device: True)
    return load(tiny_bert)


@given(n=st.integers(1, 5000), multiple=st.sampled_from([4, 8]))
def test_numbers_recur_and_grow_by_no_more_than_a_quarter(n: int, multiple: int) -> None:
    rounded = recurring_shapes._rounded(n, multiple)
    assert n <= rounded < n + max(multiple, n / 4 + 1)
    assert rounded % multiple == 0
    assert recurring_shapes._rounded(rounded, multiple) == rounded


def test_only_devices_of_cuda_capture(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert can_capture(torch.device("cuda", 1))
    assert not any(can_capture(torch.device(name)) for name in ("cpu", "mps"))
    assert recurring_shape(load(tiny_bert).shim, 8, 8) is None
    # AMD's GPUs are called "cuda", too.
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not can_capture(torch.device("cuda"))


def test_large_updates_are_not_captured(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = wrapper.shim
    assert recurring_shape(shim, 500, 50) == (512, 56)
    monkeypatch.setattr(shim, "capabilities", replace(shim.capabilities, width=1024))
    assert recurring_shape(shim, 500, 50) is None
    assert recurring_shape(shim, 200, 50) == (224, 56)


def test_shapes_stay_within_the_positions_of_the_encoder(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, shape in ((22, (8, 20)), (21, None), (-1, (8, 20)), (0, (8, 20))):
        monkeypatch.setattr(wrapper.shim.module.config, "max_position_embeddings", limit)
        assert recurring_shape(wrapper.shim, 3, 20) == shape


@pytest.mark.parametrize("lacks", [{"ignores_padding": False}, {"arguments": frozenset()}])
def test_encoders_that_take_no_padding_are_not_captured(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, lacks: dict[str, object]
) -> None:
    shim = wrapper.shim
    assert recurring_shape(shim, 3, 17) == (8, 20)
    monkeypatch.setattr(shim, "capabilities", replace(shim.capabilities, **lacks))
    assert recurring_shape(shim, 3, 20) is None


def test_sub_batches_are_not_padded_beyond_their_maximum(wrapper: TransformersWrapper) -> None:
    for size, shape in ((63, (3, 7)), (64, (8, 8)), (0, (8, 8))):
        (batch,) = sub_batches(wrapper.shim, make_input([7, 3, 5]), size, is_train=True)
        assert batch.shape == shape
        # Rows that attend to nothing could become NaN.
        assert batch.inputs["attention_mask"].sum(dim=1).min() > 0
        (batch,) = sub_batches(wrapper.shim, make_input([7, 3, 5]), size)
        assert batch.shape == (3, 7)
