from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from thinc.api import NumpyOps, Optimizer
from transformers import AutoModel, PreTrainedModel

from trfcli_pipeline.adamw import EncoderAdamW, parameter_groups
from trfcli_pipeline.optimizers import make_optimizer

RATE = 1e-2


def load_module(path: Path) -> PreTrainedModel:
    return AutoModel.from_pretrained(path).eval()


def weights(module: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def set_gradients(module: PreTrainedModel, seed: int, *, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for each in module.parameters():
        each.grad = scale * torch.randn(each.shape, generator=generator)


def test_rates_fall_from_layer_to_layer(tiny_bert: Path) -> None:
    """AdamW's first step is the rate, whatever the gradient's size."""
    module = load_module(tiny_bert)
    before = weights(module)
    set_gradients(module, 0)
    EncoderAdamW(module).step(
        make_optimizer(trf_lr=RATE, trf_weight_decay=0.0, trf_layer_decay=0.5)
    )
    for name, each in module.named_parameters():
        factor = 1.0
        if name.startswith("embeddings"):
            factor = 0.25
        if name.startswith("encoder.layer.0"):
            factor = 0.5
        steps = (each - before[name]).abs()
        assert steps.median().item() == pytest.approx(factor * RATE, rel=1e-2), name


def test_without_decay_all_have_one_rate(tiny_bert: Path) -> None:
    groups = parameter_groups(load_module(tiny_bert), 1.0)
    assert [group["rate_factor"] for group in groups] == [1, 1]


def test_averages_follow_the_schedule_of_thinc(tiny_bert: Path) -> None:
    module, optimizer = load_module(tiny_bert), make_optimizer(trf_lr=RATE, use_averages=True)
    adamw, ops = EncoderAdamW(module), NumpyOps()
    averages: dict[str, np.ndarray] = {}
    for step in range(1, 6):
        set_gradients(module, step)
        adamw.step(optimizer)
        for name, each in weights(module).items():
            # Thinc's begin with zeros, ours with the weights.
            average = averages.setdefault(name, each.numpy().copy())
            ops.update_averages(average, each.numpy(), step)
    own = weights(module)
    with adamw.averaged():
        for name, each in module.named_parameters():
            np.testing.assert_allclose(each.detach().numpy(), averages[name], rtol=1e-5, atol=1e-6)
            assert not torch.equal(each, own[name])
    for name, each in module.named_parameters():
        assert torch.equal(each, own[name])


def test_without_averages_nothing_takes_their_place(tiny_bert: Path) -> None:
    module = load_module(tiny_bert)
    adamw = EncoderAdamW(module)
    set_gradients(module, 0)
    adamw.step(make_optimizer(trf_lr=RATE))
    own = weights(module)
    with adamw.averaged():
        assert all(torch.equal(each, own[name]) for name, each in module.named_parameters())


def test_what_is_frozen_stays(tiny_bert: Path) -> None:
    module = load_module(tiny_bert)
    module.embeddings.requires_grad_(False)
    adamw = EncoderAdamW(module)
    before = weights(module)
    for each in module.encoder.parameters():
        each.grad = torch.ones_like(each)
    adamw.step(make_optimizer(trf_lr=RATE, use_averages=True))
    for name, each in module.named_parameters():
        assert torch.equal(each, before[name]) == (not name.startswith("encoder")), name
    assert not any("embeddings" in name for name in adamw.state())


def take_steps(
    module: PreTrainedModel, adamw: EncoderAdamW, optimizer: Optimizer, steps: range
) -> None:
    for step in steps:
        # One that overflows, so that the scale changes.
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
def test_a_restored_state_goes_on_alike(
    tiny_bert: Path, precision: str, settings: dict[str, Any]
) -> None:
    optimizer = make_optimizer(trf_lr=RATE, **settings)
    one = load_module(tiny_bert)
    first = EncoderAdamW(one, precision)
    take_steps(one, first, optimizer, range(3))
    saved = save(first.state())
    other = load_module(tiny_bert)
    second = EncoderAdamW(other, precision)
    second.restore(load(saved))
    # Nothing is lost if it is saved again at once.
    assert save(second.state()) == saved
    for module, adamw in ((one, first), (other, second)):
        take_steps(module, adamw, optimizer, range(3, 6))
    assert save(first.state()) == save(second.state())


def test_a_step_that_overflows_is_left_out(tiny_bert: Path) -> None:
    module = load_module(tiny_bert)
    adamw, optimizer = EncoderAdamW(module, "fp16"), make_optimizer(trf_lr=RATE)
    before, scale = weights(module), adamw.scaler.get_scale()
    set_gradients(module, 0)
    next(iter(module.parameters())).grad.view(-1)[0] = float("inf")
    adamw.step(optimizer)
    assert all(torch.equal(each, before[name]) for name, each in module.named_parameters())
    assert adamw.scaler.get_scale() == scale / 2
    assert all(each.grad is None for each in module.parameters())
    set_gradients(module, 0)
    adamw.step(optimizer)
    assert not any(torch.equal(each, before[name]) for name, each in module.named_parameters())


def test_scaled_gradients_make_the_same_step(tiny_bert: Path) -> None:
    """Clipping included."""
    found = []
    for precision in ("fp32", "fp16"):
        module = load_module(tiny_bert)
        adamw = EncoderAdamW(module, precision)
        scale = adamw.scaler.get_scale() if precision == "fp16" else 1.0
        set_gradients(module, 0, scale=1e-9 * scale)
        adamw.step(make_optimizer(trf_lr=RATE, grad_clip=1e-7))
        found.append(weights(module))
    for name, each in found[0].items():
        torch.testing.assert_close(found[1][name], each, msg=name)
