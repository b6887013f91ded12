from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors
from thinc.api import Adam, NumpyOps, Optimizer
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedModel,
    XLNetConfig,
    XLNetModel,
)
from wrapped import (
    SIZES,
    gradients_of,
    load,
    load_plain,
    make_gradients,
    make_input,
    parameters_of,
    update,
)

from trfcli_pipeline.encoder.adamw import EncoderAdamW, parameter_groups
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

RATE = 1e-2


def set_gradients(module: PreTrainedModel, seed: int, *, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for each in module.parameters():
        each.grad = scale * torch.randn(each.shape, generator=generator)


def test_layer_decay_lowers_the_learning_rate_of_lower_layers(tiny_bert: Path) -> None:
    """AdamW's first step is as large as the learning rate, whatever the gradient."""
    module = load_plain(tiny_bert)
    before = parameters_of(module)
    set_gradients(module, 0)
    EncoderAdamW(module).step(
        TransformersOptimizer(trf_lr=RATE, trf_weight_decay=0.0, trf_layer_decay=0.5)
    )
    for name, each in module.named_parameters():
        factor = 1.0
        if name.startswith("embeddings"):
            factor = 0.25
        if name.startswith("encoder.layer.0"):
            factor = 0.5
        steps = (each - before[name]).abs()
        assert steps.median().item() == pytest.approx(factor * RATE, rel=1e-2), name


def test_all_layers_have_the_same_learning_rate_without_layer_decay(tiny_bert: Path) -> None:
    groups = parameter_groups(load_plain(tiny_bert), 1.0)
    assert [group["rate_factor"] for group in groups] == [1, 1]


def test_averages_follow_thincs_schedule(tiny_bert: Path) -> None:
    module, optimizer = load_plain(tiny_bert), TransformersOptimizer(trf_lr=RATE, use_averages=True)
    adamw, ops = EncoderAdamW(module), NumpyOps()
    averages: dict[str, np.ndarray] = {}
    for step in range(1, 6):
        set_gradients(module, step)
        adamw.step(optimizer)
        for name, each in parameters_of(module).items():
            # Thinc's averages start at zero, ours at the weights.
            average = averages.setdefault(name, each.numpy().copy())
            ops.update_averages(average, each.numpy(), step)
    own = parameters_of(module)
    with adamw.averaged():
        for name, each in module.named_parameters():
            np.testing.assert_allclose(each.detach().numpy(), averages[name], rtol=1e-5, atol=1e-6)
            assert not torch.equal(each, own[name])
    for name, each in module.named_parameters():
        assert torch.equal(each, own[name])


def test_weights_are_not_replaced_if_no_averages_are_kept(tiny_bert: Path) -> None:
    module = load_plain(tiny_bert)
    adamw = EncoderAdamW(module)
    set_gradients(module, 0)
    adamw.step(TransformersOptimizer(trf_lr=RATE))
    own = parameters_of(module)
    with adamw.averaged():
        assert all(torch.equal(each, own[name]) for name, each in module.named_parameters())


def test_frozen_parameters_do_not_change(tiny_bert: Path) -> None:
    module = load_plain(tiny_bert)
    module.embeddings.requires_grad_(False)
    adamw = EncoderAdamW(module)
    before = parameters_of(module)
    for each in module.encoder.parameters():
        each.grad = torch.ones_like(each)
    adamw.step(TransformersOptimizer(trf_lr=RATE, use_averages=True))
    for name, each in module.named_parameters():
        assert torch.equal(each, before[name]) == (not name.startswith("encoder")), name
    assert not any("embeddings" in name for name in adamw.state_dict())


def take_steps(
    module: PreTrainedModel, adamw: EncoderAdamW, optimizer: Optimizer, steps: range
) -> None:
    for step in steps:
        # Step 1 overflows, so that the scale changes.
        set_gradients(module, step, scale=float("inf") if step == 1 else 1e3)
        adamw.step(optimizer)


@pytest.mark.parametrize(
    ("precision", "settings"),
    [
        ("fp32", {}),
        ("fp32", {"trf_layer_decay": 0.5, "use_averages": True}),
        ("fp16", {"use_averages": True}),
    ],
)
def test_training_continues_exactly_from_a_restored_state(
    tiny_bert: Path, precision: str, settings: dict[str, Any]
) -> None:
    optimizer = TransformersOptimizer(trf_lr=RATE, **settings)
    one = load_plain(tiny_bert)
    first = EncoderAdamW(one, precision)
    take_steps(one, first, optimizer, range(3))
    saved = safetensors.save(first.state_dict())
    other = load_plain(tiny_bert)
    second = EncoderAdamW(other, precision)
    second.load_state_dict(safetensors.load(saved))
    # Nothing is lost if the state is saved again before the next step.
    assert safetensors.save(second.state_dict()) == saved
    for module, adamw in ((one, first), (other, second)):
        take_steps(module, adamw, optimizer, range(3, 6))
    assert safetensors.save(first.state_dict()) == safetensors.save(second.state_dict())


def test_a_step_is_skipped_if_gradients_overflow(tiny_bert: Path) -> None:
    module = load_plain(tiny_bert)
    adamw, optimizer = EncoderAdamW(module, "fp16"), TransformersOptimizer(trf_lr=RATE)
    before, scale = parameters_of(module), adamw.scaler.get_scale()
    set_gradients(module, 0)
    next(iter(module.parameters())).grad.view(-1)[0] = float("inf")
    adamw.step(optimizer)
    assert all(torch.equal(each, before[name]) for name, each in module.named_parameters())
    assert adamw.scaler.get_scale() == scale / 2
    assert all(each.grad is None for each in module.parameters())
    set_gradients(module, 0)
    adamw.step(optimizer)
    assert not any(torch.equal(each, before[name]) for name, each in module.named_parameters())


def test_gradient_scaling_does_not_change_the_step(tiny_bert: Path) -> None:
    """With gradient clipping, too."""
    found = []
    for precision in ("fp32", "fp16"):
        module = load_plain(tiny_bert)
        adamw = EncoderAdamW(module, precision)
        scale = adamw.scaler.get_scale() if precision == "fp16" else 1.0
        set_gradients(module, 0, scale=1e-9 * scale)
        adamw.step(TransformersOptimizer(trf_lr=RATE, grad_clip=1e-7))
        found.append(parameters_of(module))
    for name, each in found[0].items():
        torch.testing.assert_close(found[1][name], each, msg=name)


# Steps after updates of a model


def reference_adamw(
    module: PreTrainedModel, *, lr: float, weight_decay: float
) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [
            {
                "params": [each for each in module.parameters() if each.ndim > 1],
                "weight_decay": weight_decay,
            },
            {
                "params": [each for each in module.parameters() if each.ndim <= 1],
                "weight_decay": 0.0,
            },
        ],
        lr=lr,
    )


def assert_steps_equal(
    path: Path, optimizer: Any, *, lr: float, weight_decay: float, clip: float, scale: float
) -> None:
    wrapper = load(path, words_per_batch=50)
    plain = load_plain(path)
    reference = reference_adamw(plain, lr=lr, weight_decay=weight_decay)
    start = parameters_of(plain)
    for _ in range(3):
        update(wrapper, make_input(), scale=scale)
        gradients = gradients_of(wrapper.shim.module)
        for name, each in plain.named_parameters():
            each.grad = gradients[name]
        if clip:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), clip)
        reference.step()
        wrapper.finish_update(optimizer)
    for name, each in wrapper.shim.module.named_parameters():
        expected = plain.get_parameter(name)
        # Compare with the size of the steps, which is small against the weights.
        steps = (expected - start[name]).abs().max().item()
        assert steps > 0, name
        assert (each - expected).abs().max().item() <= 1e-3 * steps + 1e-7, name


@pytest.mark.parametrize("scale", [1e-4, 1e2])
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_steps_equal_torchs_adamw(
    tiny_bert: Path, scale: float, weight_decay: float, clip: float
) -> None:
    optimizer = TransformersOptimizer(trf_lr=1e-2, trf_weight_decay=weight_decay, grad_clip=clip)
    assert_steps_equal(
        tiny_bert, optimizer, lr=1e-2, weight_decay=weight_decay, clip=clip, scale=scale
    )


def test_optimizers_without_encoder_settings_use_the_defaults(tiny_bert: Path) -> None:
    # The learning rate of Thinc's Adam applies to the heads.
    assert_steps_equal(tiny_bert, Adam(1e-3), lr=5e-5, weight_decay=0.01, clip=1.0, scale=1.0)


def test_the_learning_rate_follows_its_schedule(tiny_bert: Path) -> None:
    optimizer = TransformersOptimizer(trf_lr=iter([1e-2, 0.0]), trf_weight_decay=0.5)
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.shim.module)
    update(wrapper, make_input())
    wrapper.finish_update(optimizer)
    between = parameters_of(wrapper.shim.module)
    assert not torch.equal(*(each["embeddings.LayerNorm.bias"] for each in (before, between)))
    optimizer.step_schedules()
    update(wrapper, make_input())
    wrapper.finish_update(optimizer)
    after = parameters_of(wrapper.shim.module)
    assert all(torch.equal(after[name], each) for name, each in between.items())


def test_weight_decay_does_not_apply_to_biases_and_norms() -> None:
    """Whatever their shape: XLNet's biases have a row per head."""
    sizes = {"vocab_size": 20, "num_attention_heads": 2, "num_hidden_layers": 1}
    llama = {**sizes, "hidden_size": 8, "intermediate_size": 8}
    xlnet = {"vocab_size": 20, "d_model": 8, "n_head": 2, "n_layer": 1, "d_inner": 8}
    modules = [XLNetModel(XLNetConfig(**xlnet)), LlamaModel(LlamaConfig(**llama))]
    modules.append(BertModel(BertConfig(**llama)))
    for module in modules:
        groups = parameter_groups(module)
        decays, others = sorted(groups, key=itemgetter("weight_decay_factor"), reverse=True)
        assert (decays["weight_decay_factor"], others["weight_decay_factor"]) == (1, 0)
        assert decays["rate_factor"] == others["rate_factor"] == 1
        exempt = {
            parameter
            for name, part in module.named_modules()
            for own, parameter in part.named_parameters(recurse=False)
            if "norm" in type(part).__name__.lower() or "bias" in own
        }
        assert exempt == set(others["params"])
        assert exempt | set(decays["params"]) == set(module.parameters())
        assert not exempt & set(decays["params"])


def test_weight_decay_shrinks_only_matrices(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.shim.module)
    Y, backprop = wrapper.begin_update(make_input())
    # With zero gradients, only weight decay changes the weights.
    backprop(make_gradients(Y, []))
    wrapper.finish_update(TransformersOptimizer(trf_lr=0.1, trf_weight_decay=0.5))
    after = parameters_of(wrapper.shim.module)
    for name, each in before.items():
        if not name.startswith("pooler."):
            factor = 1 - 0.1 * 0.5 if each.ndim > 1 else 1.0
            torch.testing.assert_close(after[name], factor * each)


@pytest.mark.parametrize("words_per_batch", SIZES)
def test_an_update_takes_one_step(tiny_bert: Path, words_per_batch: int) -> None:
    wrapper = load(tiny_bert, words_per_batch=words_per_batch)
    before = parameters_of(wrapper.shim.module)
    update(wrapper, make_input())
    # Adam's first step changes a weight by the learning rate. Two steps would change it more.
    optimizer = TransformersOptimizer(trf_lr=1e-2, trf_weight_decay=0.0)
    wrapper.finish_update(optimizer)
    after = parameters_of(wrapper.shim.module)
    largest = max((after[name] - each).abs().max().item() for name, each in before.items())
    assert largest == pytest.approx(1e-2, rel=1e-3)
    # The gradients were cleared.
    assert all(each.grad is None for each in wrapper.shim.module.parameters())
    wrapper.finish_update(optimizer)
    again = parameters_of(wrapper.shim.module)
    assert all(torch.equal(again[name], each) for name, each in after.items())


def test_a_step_without_gradients_changes_nothing(tiny_bert: Path) -> None:
    wrapper = load(tiny_bert)
    before = parameters_of(wrapper.shim.module)
    wrapper.predict(make_input())
    wrapper.finish_update(TransformersOptimizer(trf_lr=0.1, trf_weight_decay=0.5))
    after = parameters_of(wrapper.shim.module)
    assert all(torch.equal(after[name], each) for name, each in before.items())
