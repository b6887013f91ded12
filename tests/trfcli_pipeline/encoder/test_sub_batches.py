from pathlib import Path

import numpy as np
import pytest
import torch
from wrapped import LENGTHS, SIZES, load, make_input, simulate_memory, split

from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.out_of_memory import MemoryGuard
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.sub_batches import sub_batch_size


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_sub_batches_stay_within_words_per_batch(tiny_bert: Path, words_per_batch: int) -> None:
    batches = split(load(tiny_bert, words_per_batch=words_per_batch), make_input())
    filled = [segment for segment, length in enumerate(LENGTHS) if length]
    assert sorted(int(i) for batch in batches for i in batch.segments) == filled
    assert words_per_batch or len(batches) == 1
    for batch in batches:
        rows, longest = batch.inputs["input_ids"].shape
        assert longest == max(LENGTHS[i] for i in batch.segments)
        assert rows == 1 or not words_per_batch or rows * longest <= words_per_batch


def test_only_padded_sub_batches_have_an_attention_mask(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    (padded,) = split(wrapper, make_input([2, 3]))
    assert padded.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    (full,) = split(wrapper, make_input([3, 0, 3]))
    assert "attention_mask" not in full.inputs


def simulate_device(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, kind: str, free: int
) -> None:
    """Pretend that the encoder is on such a device, with this many free bytes."""
    for module in ("memory_budget", "out_of_memory"):
        monkeypatch.setattr(f"trfcli_pipeline.encoder.{module}.free_bytes", lambda device: free)
    wrapper.shim.device = torch.device(kind)
    wrapper.shim.updating = MemoryGuard(wrapper.shim.device)


def automatic_size(wrapper: TransformersWrapper, *, is_train: bool) -> int:
    lengths = np.full(10**5, 10, np.int32)
    return sub_batch_size(wrapper.shim, lengths, "auto", is_train=is_train)


def test_automatic_sub_batches_depend_on_the_free_memory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert)
    sizes = {}
    for free in (10**6, 2 * 10**6, 10**12):
        simulate_device(wrapper, monkeypatch, "cuda", free)
        sizes[free] = [automatic_size(wrapper, is_train=is_train) for is_train in (False, True)]
    # A layer takes 2 (34 x 16 + 5 x 4 x 10) bytes per wordpiece. Graphs keep both layers.
    assert sizes[10**6] == [10**6 // 4 // 1488, 10**6 // 4 // 2976]
    assert sizes[2 * 10**6] == [2 * 10**6 // 4 // 1488, 2 * 10**6 // 4 // 2976]
    # Larger sub-batches would gain nothing.
    assert sizes[10**12] == [2**15, 2**15]


@pytest.mark.parametrize("setting", ["all_hidden_states", "all_attentions"])
def test_automatic_sub_batches_leave_room_for_the_outputs_of_all_layers(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    wrapper = load(tiny_bert, **{setting: True})
    simulate_device(wrapper, monkeypatch, "cuda", 10**6)
    assert automatic_size(wrapper, is_train=False) == automatic_size(wrapper, is_train=True)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_automatic_sub_batches_are_small_on_a_cpu(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, n_streams: int
) -> None:
    wrapper = load(tiny_bert)
    simulate_device(wrapper, monkeypatch, "cpu", 10**12)
    monkeypatch.setattr(TransformersShim, "n_streams", n_streams)
    assert automatic_size(wrapper, is_train=False) == 1024
    # Smaller still if the streams don't have enough memory together.
    simulate_device(wrapper, monkeypatch, "cpu", 10**6)
    assert automatic_size(wrapper, is_train=False) == 10**6 // 4 // n_streams // 1488


def test_automatic_sub_batches_remember_what_did_not_fit(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    simulate_memory(wrapper, monkeypatch, room=100, graphs=70)
    wrapper.predict(make_input())
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # Updates need more memory, and have a limit of their own.
    assert automatic_size(wrapper, is_train=True) == 1024
    wrapper.begin_update(make_input())
    assert 32 <= automatic_size(wrapper, is_train=True) <= 70
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # The limits don't apply to another device.
    wrapper.shim.to("cpu")
    assert automatic_size(wrapper, is_train=False) == 1024
