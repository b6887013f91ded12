import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel
from wrapped import load as load_wrapper
from wrapped import make_gradients, parameters_of

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.lora import add_adapters, merged
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

FILE = "model.safetensors"
LENGTHS = [7, 12, 0, 30, 3, 12]
INPUT = WordPieces(
    ids=np.random.default_rng(0).integers(5, 100, sum(LENGTHS)),
    lengths=np.array(LENGTHS, dtype=np.int32),
)


def load(path: Path, *, words_per_batch: int = 2000, rank: int | None = 4) -> TransformersWrapper:
    wrapper = load_wrapper(path, words_per_batch=words_per_batch)
    torch.manual_seed(0)
    wrapper.shim.prepare_training(lora_rank=rank)
    return wrapper


def update(wrapper: TransformersWrapper) -> Activations:
    Y, backprop = wrapper.begin_update(INPUT)
    backprop(make_gradients(Y, ["last_hidden_state"]))
    return Y


def train(wrapper: TransformersWrapper) -> None:
    for _ in range(3):
        update(wrapper)
        wrapper.finish_update(TransformersOptimizer(trf_lr=1e-2))


def test_new_adapters_do_not_change_the_output(encoder: Path) -> None:
    plain, adapted = load(encoder, rank=None), load(encoder)
    hidden = [each.predict(INPUT).last_hidden_state for each in (plain, adapted)]
    assert np.array_equal(*hidden)
    assert np.array_equal(update(adapted).last_hidden_state, hidden[0])


def test_only_adapters_are_trained(encoder: Path) -> None:
    wrapper = load(encoder)
    before = parameters_of(wrapper.shim.module)
    train(wrapper)
    trained = {
        name
        for name, each in wrapper.shim.module.named_parameters()
        if not torch.equal(each, before[name])
    }
    assert trained
    assert all(".lora_" in name for name in trained)
    assert not any(".lora_" not in name for name, _ in wrapper.shim.adamw._trained())


def test_adapters_are_merged_when_saving(encoder: Path, tmp_path: Path) -> None:
    wrapper = load(encoder)
    train(wrapper)
    expected = wrapper.predict(INPUT).last_hidden_state
    own = parameters_of(wrapper.shim.module)
    wrapper.to_disk(tmp_path)
    before, after = load_file(encoder / FILE), load_file(tmp_path / FILE)
    assert before.keys() == after.keys()
    changed = {name for name, each in before.items() if not torch.equal(each, after[name])}
    assert changed
    assert all(after[name].ndim == 2 for name in changed)
    assert not any("embedding" in name or "wte" in name for name in changed)
    assert not (tmp_path / "adapter_config.json").exists()
    # The saved encoder predicts bit-equal.
    assert np.array_equal(load(tmp_path, rank=None).predict(INPUT).last_hidden_state, expected)
    copy = TransformersWrapper(device="cpu").from_bytes(wrapper.to_bytes())
    assert np.array_equal(copy.predict(INPUT).last_hidden_state, expected)
    # Saving doesn't change the weights that are trained.
    for name, each in wrapper.shim.module.named_parameters():
        assert torch.equal(each, own[name]), name
    np.testing.assert_allclose(update(wrapper).last_hidden_state, expected, atol=1e-4)


def test_gradients_do_not_depend_on_sub_batches(
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
        # The second time, recompute all sub-batches.
        monkeypatch.setattr("trfcli_pipeline.encoder.updates.graph_budget", lambda device: 0)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_adapters_are_restored_after_an_error(tiny_bert: Path) -> None:
    module = AutoModel.from_pretrained(tiny_bert)
    adapters = add_adapters(module, 2)
    names = [name for name, _ in module.named_parameters()]
    with merged(adapters):
        assert not any("lora" in name for name, _ in module.named_parameters())
    with pytest.raises(MemoryError), merged(adapters):
        raise MemoryError
    assert [name for name, _ in module.named_parameters()] == names


def test_a_missing_peft_is_an_error(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match="needs peft") as caught:
        load(tiny_bert)
    assert caught.value.hint == 'pip install "trfcli[lora]"'


def test_an_encoder_without_linear_layers_is_an_error(tiny_bert: Path) -> None:
    module = AutoModel.from_pretrained(tiny_bert)
    module.encoder, module.pooler = torch.nn.ModuleList(), None
    with pytest.raises(EncoderError, match="bert: can't be trained with LoRA"):
        add_adapters(module, 2)
