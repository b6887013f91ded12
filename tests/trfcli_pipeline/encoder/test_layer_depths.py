from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from trfcli_pipeline.encoder.layer_depths import find_layers, freeze_lowest, parameter_depths
from trfcli_pipeline.errors import ArgumentError, EncoderError

# Families with different structures of embeddings and layers.
FAMILIES = [
    *("bert", "distilbert", "electra", "mpnet", "convbert", "gpt2", "modernbert", "xlnet"),
    *("deberta-v2", "fnet", "canine"),
]
IDS = torch.arange(5, 45).reshape(4, 10)


@pytest.fixture(params=FAMILIES)
def module(
    request: pytest.FixtureRequest, family_encoder: Callable[[str], Path]
) -> PreTrainedModel:
    return AutoModel.from_pretrained(family_encoder(request.param)).eval()


def gradients(module: PreTrainedModel) -> dict[str, torch.Tensor]:
    module.zero_grad()
    module(input_ids=IDS).last_hidden_state.square().sum().backward()
    return {name: each.grad for name, each in module.named_parameters() if each.grad is not None}


def test_layers_and_depths_are_found(module: PreTrainedModel) -> None:
    layers = find_layers(module)
    assert len(layers) == 2
    depths = parameter_depths(module)
    assert depths.keys() == set(module.parameters())
    for depth, layer in enumerate(layers, start=1):
        assert {depths[each] for each in layer.parameters()} == {depth}
    outside = depths.keys() - set(layers.parameters())
    assert {depths[each] for each in outside} <= {0, 2}
    for name, each in module.named_parameters():
        # All embeddings are below the layers.
        if "embedding" in name and each in outside and "projection" not in name:
            assert depths[each] == 0 or "mask_emb" in name, name
        if name.startswith(("pooler", "ln_f", "final_norm")):
            assert depths[each] == 2, name


def test_the_backward_pass_ends_at_the_frozen_layers(module: PreTrainedModel) -> None:
    expected = gradients(module)
    freeze_lowest(module, 1)
    seen: list[bool] = []
    lowest, uppermost = find_layers(module)
    for layer in (lowest, uppermost):
        layer.register_forward_hook(
            lambda layer, inputs, Y: seen.append(
                (Y[0] if isinstance(Y, tuple) else Y).requires_grad
            )
        )
    found = gradients(module)
    assert seen == [False, True]
    # The gradients of the trained layers are the same as without frozen layers.
    assert found.keys() < expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])
    trained = {name for name, each in module.named_parameters() if each.requires_grad}
    assert {name for name in expected if name in trained} == found.keys()


def test_finding_depths_draws_no_random_numbers(tiny_bert: Path) -> None:
    module = AutoModel.from_pretrained(tiny_bert).train()
    before = torch.get_rng_state()
    parameter_depths(module)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(part.training for part in module.modules())


def test_layers_that_share_weights_are_an_error(family_encoder: Callable[[str], Path]) -> None:
    module = AutoModel.from_pretrained(family_encoder("albert"))
    with pytest.raises(EncoderError, match="albert: has no separate weights"):
        freeze_lowest(module, 1)


@pytest.mark.parametrize("number", [2, 3])
def test_freezing_all_layers_is_an_error(tiny_bert: Path, number: int) -> None:
    module = AutoModel.from_pretrained(tiny_bert)
    problem = f"--freeze-layers {number}: the encoder has 2 layers"
    with pytest.raises(ArgumentError, match=problem) as caught:
        freeze_lowest(module, number)
    assert "--freeze-encoder" in caught.value.hint
    assert all(each.requires_grad for each in module.parameters())
