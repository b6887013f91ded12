from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BigBirdConfig, BigBirdModel, FunnelConfig, FunnelModel, PreTrainedModel
from transformers.utils import ModelOutput

from trfcli_pipeline.encoder.capabilities import (
    EncoderCapabilities,
    call_options,
    find_capabilities,
    forward_arguments,
    require_outputs,
    returns_layers,
)
from trfcli_pipeline.errors import DeviceError, EncoderError
from trfcli_pipeline.huggingface import pretrained

Load = Callable[[str], PreTrainedModel]


@pytest.fixture
def load(family_encoder: Callable[[str], Path]) -> Load:
    def load_family(name: str) -> PreTrainedModel:
        return pretrained.load_model(family_encoder(name))

    return load_family


def find_with_outputs(
    module: PreTrainedModel, *, all_hidden_states: bool = False, all_attentions: bool = False
) -> EncoderCapabilities:
    return require_outputs(
        module,
        find_capabilities(module),
        all_hidden_states=all_hidden_states,
        all_attentions=all_attentions,
    )


def test_arguments_come_from_the_signature(load: Load) -> None:
    bert = forward_arguments(load("bert"))
    assert {"input_ids", "attention_mask", "token_type_ids", "output_hidden_states"} <= bert
    assert "use_mems" not in bert
    assert "use_mems" in forward_arguments(load("xlnet"))
    assert "token_type_ids" not in forward_arguments(load("distilbert"))


def test_a_call_gets_only_options_that_the_encoder_has() -> None:
    arguments = frozenset({"input_ids", "return_dict", "use_cache", "output_attentions"})
    options = call_options(arguments, output_attentions=True, output_hidden_states=True)
    assert options == {"return_dict": True, "use_cache": False, "output_attentions": True}


@pytest.mark.parametrize("name", ["distilbert", "gpt2", "xlnet", "electra", "albert"])
def test_the_width_comes_from_the_output(load: Load, name: str) -> None:
    # Configs call it dim, n_embd, d_model and hidden_size.
    assert find_capabilities(load(name)).width == 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bert", True), ("gpt2", True), ("modernbert", True), ("convbert", False), ("fnet", False)],
)
def test_a_trial_run_shows_whether_padding_is_ignored(
    load: Load, name: str, expected: bool
) -> None:
    assert find_capabilities(load(name)).ignores_padding is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bert", True), ("xlnet", True), ("roberta", False), ("deberta-v2", False), ("mpnet", False)],
)
def test_only_some_encoders_have_token_types(load: Load, name: str, expected: bool) -> None:
    assert find_capabilities(load(name)).has_types is expected


def test_outputs_are_unknown_until_they_are_requested(load: Load) -> None:
    module = load("bert")
    found = find_capabilities(module)
    assert (found.hidden_states, found.attentions) == (False, False)
    found = require_outputs(module, found, all_hidden_states=True, all_attentions=False)
    assert (found.hidden_states, found.attentions) == (True, False)


def test_an_encoder_that_cannot_run_on_short_rows_is_an_error(load: Load) -> None:
    with pytest.raises(EncoderError, match="canine: can't run on wordpieces alone") as caught:
        find_capabilities(load("canine"))
    assert "\n" not in caught.value.message


def test_missing_attentions_are_an_error(load: Load) -> None:
    with pytest.raises(EncoderError, match="fnet: returns no attentions") as caught:
        find_with_outputs(load("fnet"), all_attentions=True)
    assert caught.value.hint == "Leave out all_attentions"


def test_hidden_states_without_a_row_per_wordpiece_are_an_error() -> None:
    # Funnel pools the rows in its inner layers.
    config = FunnelConfig(
        vocab_size=10,
        block_sizes=[1, 1],
        num_decoder_layers=1,
        d_model=8,
        n_head=2,
        d_head=4,
        d_inner=8,
    )
    funnel = FunnelModel(config).eval()
    assert find_capabilities(funnel).width == 8
    with pytest.raises(EncoderError, match="funnel: its layers return no hidden state"):
        find_with_outputs(funnel, all_hidden_states=True)
    assert not returns_layers(funnel, find_capabilities(funnel))


def test_short_texts_do_not_change_the_results_of_long_ones() -> None:
    # Without a trial run, BigBird would switch to full attention at the first short text.
    config = BigBirdConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=64,
        block_size=2,
        num_random_blocks=1,
        initializer_range=0.5,
    )
    encoder = BigBirdModel(config).eval()
    capabilities = find_with_outputs(encoder, all_hidden_states=True, all_attentions=True)
    assert capabilities.ignores_padding
    long, short = torch.arange(40)[None] % 9 + 1, torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        before = encoder(long).last_hidden_state
        encoder(short)
        assert torch.equal(encoder(long).last_hidden_state, before)


@pytest.mark.parametrize("output", [{"logits": 1}, {"last_hidden_state": None}])
def test_an_encoder_without_hidden_states_is_an_error(
    load: Load, monkeypatch: pytest.MonkeyPatch, output: dict[str, object]
) -> None:
    module = load("bert")
    monkeypatch.setattr(module, "forward", lambda input_ids, **_: ModelOutput(output))
    with pytest.raises(EncoderError, match="no hidden state for each wordpiece"):
        find_capabilities(module)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ],
    ids=repr,
)
def test_a_trial_run_without_memory_says_nothing_about_the_encoder(
    load: Load, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    module = load("bert")

    def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> ModelOutput:
        raise error

    monkeypatch.setattr(module, "forward", forward)
    with pytest.raises(DeviceError, match=r"bert: not enough memory on .* for a trial run"):
        find_capabilities(module)
