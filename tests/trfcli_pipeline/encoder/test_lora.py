import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.lora import add_adapters, merged
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.pipeline.optimizer import make_optimizer

LENGTHS = [7, 12, 0, 30, 3, 12]
INPUT = WordPieces(
    ids=np.random.default_rng(0).integers(5, 100, sum(LENGTHS)),
    lengths=np.array(LENGTHS, dtype=np.int32),
    type_ids=None,
)
FILE = "model.safetensors"


@pytest.fixture(params=["tiny_bert", "tiny_gpt2"])
def encoder(request: pytest.FixtureRequest) -> Path:
    """One with linear layers, one whose layers are transposed."""
    return request.getfixturevalue(request.param)


def load(path: Path, *, words_per_batch: int = 2000, rank: int | None = 4) -> TransformersWrapper:
    wrapper = TransformersWrapper(device="cpu", words_per_batch=words_per_batch)
    wrapper.from_disk(path)
    torch.manual_seed(0)
    wrapper.shim.prepare_training(lora_rank=rank)
    return wrapper


def update(wrapper: TransformersWrapper) -> Activations:
    Y, backprop = wrapper.begin_update(INPUT)
    gradient = np.random.default_rng(1).normal(size=Y.last_hidden_state.shape).astype("f")
    backprop(Activations(gradient, None, None, None, lengths=Y.lengths, is_grad=True))
    return Y


def train(wrapper: TransformersWrapper) -> None:
    for _ in range(3):
        update(wrapper)
        wrapper.finish_update(make_optimizer(trf_lr=1e-2))


def test_adapters_change_nothing_at_first(encoder: Path) -> None:
    plain, adapted = load(encoder, rank=None), load(encoder)
    hidden = [each.predict(INPUT).last_hidden_state for each in (plain, adapted)]
    assert np.array_equal(*hidden)
    assert np.array_equal(update(adapted).last_hidden_state, hidden[0])


def test_only_adapters_are_trained(encoder: Path) -> None:
    wrapper = load(encoder)
    before = {name: each.detach().clone() for name, each in wrapper.shim.module.named_parameters()}
    train(wrapper)
    trained = {
        name
        for name, each in wrapper.shim.module.named_parameters()
        if not torch.equal(each, before[name])
    }
    # What isn't used at all, such as the pooler, isn't changed either.
    assert trained
    assert all(".lora_" in name for name in trained)
    assert not any(".lora_" not in name for name, _ in wrapper.shim.adamw._trained())


def test_what_is_saved_is_an_ordinary_encoder(encoder: Path, tmp_path: Path) -> None:
    wrapper = load(encoder)
    train(wrapper)
    expected = wrapper.predict(INPUT).last_hidden_state
    own = {name: each.detach().clone() for name, each in wrapper.shim.module.named_parameters()}
    wrapper.to_disk(tmp_path)
    before, after = load_file(encoder / FILE), load_file(tmp_path / FILE)
    assert before.keys() == after.keys()
    changed = {name for name, each in before.items() if not torch.equal(each, after[name])}
    assert changed
    assert all(after[name].ndim == 2 for name in changed)
    assert not any("embedding" in name or "wte" in name for name in changed)
    assert not (tmp_path / "adapter_config.json").exists()
    # Predicted with what is saved, to the last bit.
    assert np.array_equal(load(tmp_path, rank=None).predict(INPUT).last_hidden_state, expected)
    copy = TransformersWrapper(device="cpu").from_bytes(wrapper.to_bytes())
    assert np.array_equal(copy.predict(INPUT).last_hidden_state, expected)
    # And training goes on with the very weights from before.
    for name, each in wrapper.shim.module.named_parameters():
        assert torch.equal(each, own[name]), name
    np.testing.assert_allclose(update(wrapper).last_hidden_state, expected, atol=1e-4)


def test_sub_batches_give_the_same_gradients(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for words_per_batch in (2000, 30):
        wrapper = load(encoder, words_per_batch=words_per_batch)
        train(wrapper)
        update(wrapper)
        found.append(
            [
                each.grad.clone()
                for each in wrapper.shim.module.parameters()
                if each.grad is not None
            ]
        )
        # The second time, with no graphs kept.
        monkeypatch.setattr("trfcli_pipeline.encoder.updates.graph_budget", lambda device: 0)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_adapters_come_back_after_an_error(tiny_bert: Path) -> None:
    module = AutoModel.from_pretrained(tiny_bert)
    adapters = add_adapters(module, 2)
    names = [name for name, _ in module.named_parameters()]
    with merged(adapters):
        assert not any("lora" in name for name, _ in module.named_parameters())
    with pytest.raises(MemoryError), merged(adapters):
        raise MemoryError
    assert [name for name, _ in module.named_parameters()] == names


def test_without_peft_there_is_advice(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match="needs peft") as caught:
        load(tiny_bert)
    assert caught.value.hint == 'pip install "trfcli[lora]"'


def test_an_encoder_without_linear_layers(tiny_bert: Path) -> None:
    module = AutoModel.from_pretrained(tiny_bert)
    module.encoder, module.pooler = torch.nn.ModuleList(), None
    with pytest.raises(EncoderError, match="bert: can't be trained with LoRA"):
        add_adapters(module, 2)
