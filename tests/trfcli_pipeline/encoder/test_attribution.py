from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from trfcli_pipeline.encoder.attribution import encode_scaled
from trfcli_pipeline.encoder.backends import InferenceConfig
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.errors import PipelineError

PIECES = WordPieces(
    ids=np.array([2, 10, 11, 12, 3, 2, 20, 3], dtype=np.int64),
    lengths=np.array([5, 3], dtype=np.int32),
)


@pytest.fixture
def wrapper(tiny_bert: Path) -> TransformersWrapper:
    return TransformersWrapper(device="cpu").from_disk(tiny_bert)


def attributed(
    wrapper: TransformersWrapper, scales: Any, *, words_per_batch: int = 0
) -> tuple[Any, Any]:
    """Return the last hidden states, and the products for a gradient of ones in column 0."""
    activations, backprop = encode_scaled(
        wrapper.shim, PIECES, np.asarray(scales, "f"), words_per_batch=words_per_batch
    )
    gradients = [np.zeros(each.shape, "f") for each in activations.arrays()]
    gradients[0][:, 0] = 1.0
    return activations.last_hidden_state.numpy(), backprop(activations.with_arrays(gradients))


def test_scale_of_one_is_a_prediction(wrapper: TransformersWrapper) -> None:
    found, _ = attributed(wrapper, np.ones(8))
    expected = wrapper.predict(PIECES).last_hidden_state
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scale_of_zero_is_padding(wrapper: TransformersWrapper) -> None:
    found, _ = attributed(wrapper, [1, 0, 0, 0, 1, 1, 0, 1])
    ids = np.where([1, 0, 0, 0, 1, 1, 0, 1], PIECES.ids, 0)
    expected = wrapper.predict(WordPieces(ids, PIECES.lengths)).last_hidden_state
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_products_equal_those_of_plain_transformers(
    wrapper: TransformersWrapper, tiny_bert: Path
) -> None:
    _, products = attributed(wrapper, np.full(8, 0.3))
    plain = AutoModel.from_pretrained(tiny_bert)
    for start, end in ((0, 5), (5, 8)):
        ids = torch.from_numpy(PIECES.ids[None, start:end])
        own = plain.embeddings.word_embeddings(ids).detach()
        empty = plain.embeddings.word_embeddings(torch.zeros_like(ids)).detach()
        scaled = (empty + 0.3 * (own - empty)).requires_grad_()
        plain(inputs_embeds=scaled).last_hidden_state[..., 0].sum().backward()
        expected = (scaled.grad * (own - empty)).sum(dim=-1)[0]
        np.testing.assert_allclose(products[start:end], expected.numpy(), atol=1e-4)


def test_sub_batches_change_nothing(wrapper: TransformersWrapper) -> None:
    scales = np.linspace(0, 1, 8)
    for one, other in zip(
        attributed(wrapper, scales), attributed(wrapper, scales, words_per_batch=1), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_weights_get_no_gradients(wrapper: TransformersWrapper) -> None:
    attributed(wrapper, np.full(8, 0.5))
    assert all(each.grad is None for each in wrapper.shim.module.parameters())


def test_encoder_without_gradients(wrapper: TransformersWrapper) -> None:
    wrapper.shim.inference = InferenceConfig("openvino", "int8")
    with pytest.raises(PipelineError, match="runs with openvino, which has no gradients"):
        attributed(wrapper, np.ones(8))


def test_encoder_without_padding_starts_from_zeros(tiny_gpt2: Path) -> None:
    wrapper = TransformersWrapper(device="cpu").from_disk(tiny_gpt2)
    wrapper.shim.module.config.pad_token_id = None
    found, _ = attributed(wrapper, np.zeros(8))
    plain = AutoModel.from_pretrained(tiny_gpt2)
    with torch.inference_mode():
        expected = plain(inputs_embeds=torch.zeros(1, 5, plain.config.n_embd)).last_hidden_state[0]
    np.testing.assert_allclose(found[:5], expected.numpy(), atol=1e-5)
