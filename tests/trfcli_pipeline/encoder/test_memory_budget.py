from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertModel
from wrapped import load, make_input, split

from trfcli_pipeline.encoder.memory_budget import graph_budget, graph_bytes


def test_graphs_may_take_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trfcli_pipeline.encoder.memory_budget.free_bytes", lambda device: 1000)
    assert graph_budget(torch.device("cpu")) == 500


def test_graph_bytes_follow_the_published_formula() -> None:
    # One row of 512 in BERT-base: s b h (34 + 5 a s / h) bytes per layer in 16 bits (Korthikanti
    # et al. 2022), and twice that in float32.
    s, h, a, layers = 512, 768, 12, 12
    config = SimpleNamespace(num_hidden_layers=layers, hidden_size=h, num_attention_heads=a)
    shim = SimpleNamespace(module=SimpleNamespace(config=config))
    assert graph_bytes(shim, (1, s)) == 2 * layers * s * h * (34 + 5 * a * s / h)


def test_graph_bytes_include_padding(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    (padded,) = split(wrapper, make_input([2, 10]))
    (full,) = split(wrapper, make_input([10, 10]))
    (single,) = split(wrapper, make_input([10]))
    assert graph_bytes(wrapper.shim, padded.shape) == graph_bytes(wrapper.shim, full.shape)
    assert graph_bytes(wrapper.shim, full.shape) == 2 * graph_bytes(wrapper.shim, single.shape)


@pytest.mark.parametrize("attentions", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_graph_bytes_are_close_to_the_size_of_real_graphs(
    tmp_path: Path, dropout: float, attentions: bool
) -> None:
    # Proportions of real encoders: the feed-forward width is four times the hidden width.
    config = BertConfig(
        vocab_size=100,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
    )
    BertModel(config).save_pretrained(tmp_path)
    wrapper = load(tmp_path, all_attentions=attentions)
    shim = wrapper.shim
    shim.set_dropout(dropout)
    (batch,) = split(wrapper, make_input([100, 60]))
    weights = {each.untyped_storage().data_ptr() for each in shim.module.parameters()}
    saved: dict[int, int] = {}

    def measure(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(measure, lambda tensor: tensor):
        shim.encode(batch)
    assert 0.7 < graph_bytes(shim, batch.shape) / sum(saved.values()) < 2.5
