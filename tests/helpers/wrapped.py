"""TransformersWrapper and plain transformers models, with inputs and gradients for both."""

import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces
from trfcli_pipeline.encoder.sub_batches import sub_batches

WIDTH, LAYERS, HEADS = 16, 2, 4
# Unsorted, with equal and empty segments and one of the maximum length.
LENGTHS = [7, 1, 12, 7, 0, 30, 3, 12, 64, 0, 2]
SIZES = [0, 7, 50, 2000]
KINDS = ["last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions"]
ALL = {"all_hidden_states": True, "all_attentions": True}


def load(path: Path, **settings: Any) -> TransformersWrapper:
    wrapper = TransformersWrapper(device="cpu", **settings)
    wrapper.from_disk(path)
    return wrapper


def split(wrapper: TransformersWrapper, X: WordPieces) -> list[SubBatch]:
    return list(sub_batches(wrapper.shim, X, wrapper.attrs["words_per_batch"]))


def load_plain(path: Path, *, attentions: bool = False) -> PreTrainedModel:
    implementation = "eager" if attentions else None
    return AutoModel.from_pretrained(path, attn_implementation=implementation).eval()


@cache
def plain_model(path: Path, *, attentions: bool = False) -> PreTrainedModel:
    """A shared model, whose weights must not be changed."""
    return load_plain(path, attentions=attentions)


def make_input(lengths: list[int] = LENGTHS, *, type_ids: bool = False) -> WordPieces:
    rng = np.random.default_rng(0)
    n = sum(lengths)
    return WordPieces(
        ids=rng.integers(0, 100, n),
        lengths=np.array(lengths, dtype=np.int32),
        type_ids=rng.integers(0, 2, n) if type_ids else None,
    )


def run_plain(module: PreTrainedModel, X: WordPieces, **options: Any) -> list[Any]:
    """transformers' output for each segment alone; None for empty segments."""
    outputs, start = [], 0
    for length in X.lengths.tolist():
        piece = slice(start, start + length)
        start = piece.stop
        inputs = {"input_ids": torch.from_numpy(X.ids[None, piece])}
        if X.type_ids is not None:
            inputs["token_type_ids"] = torch.from_numpy(X.type_ids[None, piece])
        outputs.append(module(**inputs, **options) if length else None)
    return outputs


def make_gradients(Y: Activations, kinds: list[str], *, scale: float = 1.0) -> Activations:
    """Random gradients of some outputs. The others are None; last_hidden_state is zeros."""
    rng = np.random.default_rng(1)

    def random(array: np.ndarray) -> np.ndarray:
        return (scale * rng.normal(size=array.shape)).astype("f")

    values: dict[str, Any] = dict.fromkeys(KINDS)
    values["last_hidden_state"] = np.zeros_like(Y.last_hidden_state)
    for kind in kinds:
        value = getattr(Y, kind)
        values[kind] = list(map(random, value)) if isinstance(value, list) else random(value)
    return Activations(**values, lengths=Y.lengths, is_grad=True)


def plain_gradients(
    module: PreTrainedModel, X: WordPieces, d_Y: Activations
) -> dict[str, torch.Tensor]:
    """autograd's gradients if the plain model encodes the segments one by one."""
    options = {
        "output_hidden_states": d_Y.all_hidden_states is not None,
        "output_attentions": d_Y.all_attentions is not None,
    }
    module.zero_grad()
    start = 0
    for segment, output in enumerate(run_plain(module, X, **options)):
        piece = slice(start, start + int(X.lengths[segment]))
        start = piece.stop
        if output is None:
            continue
        pairs = [(output.last_hidden_state[0], d_Y.last_hidden_state[piece])]
        if d_Y.pooler_output is not None:
            pairs.append((output.pooler_output[0], d_Y.pooler_output[segment]))
        if d_Y.all_hidden_states is not None:
            for layer, gradient in zip(output.hidden_states, d_Y.all_hidden_states, strict=True):
                pairs.append((layer[0], gradient[piece]))
        if d_Y.all_attentions is not None:
            for layer, gradient in zip(output.attentions, d_Y.all_attentions[segment], strict=True):
                pairs.append((layer[0], gradient))
        sum((Y * torch.from_numpy(dY)).sum() for Y, dY in pairs).backward()
    return gradients_of(module)


def gradients_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in module.named_parameters()
    }


def assert_gradients_close(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float = 1e-5
) -> None:
    # Relative to the norm of all gradients: some are 0 in theory, such as those of the keys'
    # biases, and consist of noise.
    norm = torch.cat([each.flatten() for each in expected.values()]).norm().item()
    assert norm > 0
    assert actual.keys() == expected.keys()
    for name, each in expected.items():
        assert (actual[name] - each).norm().item() <= tolerance * norm, name


def update(wrapper: TransformersWrapper, X: WordPieces, *, scale: float = 1.0) -> Activations:
    Y, backprop = wrapper.begin_update(X)
    kinds = ["last_hidden_state"] + (["pooler_output"] if Y.pooler_output is not None else [])
    backprop(make_gradients(Y, kinds, scale=scale))
    return Y


def parameters_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def assert_bit_equal(one: Activations, other: Activations) -> None:
    for kind in KINDS:
        left, right = getattr(one, kind), getattr(other, kind)
        assert (left is None) == (right is None)
        for a, b in zip([] if left is None else left, [] if right is None else right, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def simulate_memory(
    wrapper: TransformersWrapper, monkeypatch: pytest.MonkeyPatch, *, room: int, graphs: int
) -> list[tuple[int, bool]]:
    """Simulate memory for `room` wordpieces at once, and for `graphs` wordpieces with a graph.

    Returns:
        A list that will contain the size of each sub-batch that is tried, and whether it has a
        graph.
    """
    tried: list[tuple[int, bool]] = []
    encode = wrapper.shim.encode
    graphs_made: list[tuple[Any, int]] = []

    def limited(batch: Any) -> Any:
        with_graph = torch.is_grad_enabled()
        tried.append((batch.size, with_graph))
        used = sum(size for output, size in graphs_made if output() is not None)
        if used + batch.size > (graphs if with_graph else room):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        output = encode(batch)
        if with_graph:
            graphs_made.append((weakref.ref(output), batch.size))
        return output

    monkeypatch.setattr(wrapper.shim, "encode", limited)
    return tried
