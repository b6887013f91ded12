from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel
from wrapped import load, make_input, simulate_memory, split

from trfcli_pipeline.encoder.memory_budget import graph_budget, graph_bytes
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.sub_batches import sub_batch_size


def test_the_budget_is_a_part_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.memory_budget.free_bytes", lambda device: 1000)
    assert graph_budget(torch.device("cpu")) == 500


def test_graph_bytes_count_padding(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    (padded,) = split(wrapper, make_input([2, 10]))
    (full,) = split(wrapper, make_input([10, 10]))
    (single,) = split(wrapper, make_input([10]))
    assert graph_bytes(wrapper.shim, padded) == graph_bytes(wrapper.shim, full)
    assert graph_bytes(wrapper.shim, full) == 2 * graph_bytes(wrapper.shim, single)


@pytest.mark.parametrize("attentions", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_the_estimate_is_of_the_size_that_graphs_have(
    tmp_path: Path, rate: float, attentions: bool
) -> None:
    # With the proportions of real encoders: the inner width is four times the outer.
    config = BertConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
    )
    BertModel(config).save_pretrained(tmp_path)
    wrapper = load(tmp_path, all_attentions=attentions)
    wrapper.shim.set_dropout(rate)
    (batch,) = split(wrapper, make_input([100, 60]))
    weights = {each.untyped_storage().data_ptr() for each in wrapper.shim.module.parameters()}
    saved: dict[int, int] = {}

    def measure(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(measure, lambda tensor: tensor):
        wrapper.shim.encode(batch)
    assert 0.7 < graph_bytes(wrapper.shim, batch) / sum(saved.values()) < 2.5


def simulate_device(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, kind: str, free: int
) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.memory_budget.free_bytes", lambda device: free)
    wrapper.shim.device = torch.device(kind)


def automatic_size(wrapper: TransformersWrapper, *, is_train: bool) -> int:
    lengths = np.full(10**5, 10, np.int32)
    return sub_batch_size(wrapper.shim, lengths, "auto", is_train=is_train)


def test_automatic_sub_batches_follow_the_free_memory(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    sizes = {}
    for free in (10**6, 2 * 10**6, 10**12):
        simulate_device(wrapper, monkeypatch, "cuda", free)
        sizes[free] = [automatic_size(wrapper, is_train=is_train) for is_train in (False, True)]
    # A layer at a time takes 2 (34 x 16 + 5 x 4 x 10) bytes a wordpiece; graphs keep both layers.
    assert sizes[10**6] == [10**6 // 4 // 1488, 10**6 // 4 // 2976]
    assert sizes[2 * 10**6] == [2 * 10**6 // 4 // 1488, 2 * 10**6 // 4 // 2976]
    # Larger ones would gain nothing.
    assert sizes[10**12] == [2**15, 2**15]


def test_automatic_sub_batches_make_room_for_what_is_kept(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in ({"all_hidden_states": True}, {"all_attentions": True}):
        wrapper = load(tiny_bert, words_per_batch="auto", **settings)
        simulate_device(wrapper, monkeypatch, "cuda", 10**6)
        assert automatic_size(wrapper, is_train=False) == automatic_size(wrapper, is_train=True)


@pytest.mark.parametrize("n_streams", [1, 2])
def test_automatic_sub_batches_stay_in_the_caches_of_a_cpu(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, n_streams: int
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    simulate_device(wrapper, monkeypatch, "cpu", 10**12)
    monkeypatch.setattr(TransformersShim, "n_streams", n_streams)
    assert automatic_size(wrapper, is_train=False) == 1024
    # Unless there isn't even memory for that, shared by the streams.
    simulate_device(wrapper, monkeypatch, "cpu", 10**6)
    assert automatic_size(wrapper, is_train=False) == 10**6 // 4 // n_streams // 1488


def test_automatic_sub_batches_remember_what_did_not_fit(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = load(tiny_bert, words_per_batch="auto")
    simulate_memory(wrapper, monkeypatch, room=100, graphs=70)
    wrapper.predict(make_input())
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # An update needs more memory, and has an experience of its own.
    assert automatic_size(wrapper, is_train=True) == 1024
    wrapper.begin_update(make_input())
    assert 32 <= automatic_size(wrapper, is_train=True) <= 70
    assert 50 <= automatic_size(wrapper, is_train=False) <= 100
    # On another device, all is new.
    wrapper.shim.to("cpu")
    assert automatic_size(wrapper, is_train=False) == 1024
