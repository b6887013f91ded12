import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs_openvino
from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline.encoder.backends import (
    Encoder,
    InferenceConfig,
    cast_weights,
    load_encoder,
    save_encoder,
)
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces

CPU = torch.device("cpu")


def load(path: Path) -> Encoder:
    return load_encoder(path, all_hidden_states=False, all_attentions=False, device=CPU)


@pytest.fixture(scope="module")
def openvino_encoder(tiny_bert: Path) -> Encoder:
    encoder = load(tiny_bert)
    module = convert(
        encoder.module, encoder.capabilities, "fp32", all_hidden_states=False, examples=[]
    )
    return Encoder(module, encoder.capabilities, InferenceConfig("openvino", "fp32"))


def test_only_float32_in_torch_is_trainable() -> None:
    assert InferenceConfig().is_trainable
    assert not InferenceConfig("torch", "bf16").is_trainable
    assert not InferenceConfig("openvino", "fp32").is_trainable


@needs_openvino
def test_an_openvino_encoder_is_saved_and_loaded(openvino_encoder: Encoder, tmp_path: Path) -> None:
    save_encoder(openvino_encoder, tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded.module, OpenVINOEncoder)
    assert loaded[1:] == openvino_encoder[1:]
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_bfloat16_encoder_is_saved_and_loaded(tiny_bert: Path, tmp_path: Path) -> None:
    encoder = cast_weights(load(tiny_bert), InferenceConfig("torch", "bf16"))
    save_encoder(encoder, tmp_path)
    loaded = load(tmp_path)
    assert {each.dtype for each in loaded.module.parameters()} == {torch.bfloat16}
    assert loaded[1:] == encoder[1:]
    # A trial run in bfloat16 would mistake rounding for an effect of padding.
    assert loaded.capabilities.ignores_padding


@needs_openvino
def test_a_torch_encoder_may_overwrite_an_openvino_one(
    tiny_bert: Path, openvino_encoder: Encoder, tmp_path: Path
) -> None:
    save_encoder(openvino_encoder, tmp_path)
    save_encoder(load(tiny_bert), tmp_path)
    assert load(tmp_path).inference == InferenceConfig()


@needs_openvino
@pytest.mark.parametrize("setting", ["all_hidden_states", "all_attentions"])
def test_outputs_that_an_openvino_encoder_lacks_are_an_error(
    openvino_encoder: Encoder, tmp_path: Path, setting: str
) -> None:
    save_encoder(openvino_encoder, tmp_path)
    model = TransformersWrapper(device="cpu", **{setting: True})
    with pytest.raises(PipelineError, match=f"optimized without {setting}"):
        model.from_disk(tmp_path)


@needs_openvino
def test_layers_are_returned_if_the_encoder_has_them(
    tiny_bert: Path, openvino_encoder: Encoder, tmp_path: Path
) -> None:
    save_encoder(openvino_encoder, tmp_path)
    for path, expected in ((tiny_bert, True), (tmp_path, False)):
        shim = TransformersWrapper(device="cpu").from_disk(path).shim
        with shim.returning_layers() as has_layers:
            assert has_layers == shim.all_hidden_states == expected
        assert not shim.all_hidden_states


@needs_openvino
def test_openvino_runs_only_on_the_cpu(openvino_encoder: Encoder, tmp_path: Path) -> None:
    save_encoder(openvino_encoder, tmp_path)
    shim = TransformersWrapper().from_disk(tmp_path).shim
    assert shim.device == CPU
    for name in ("auto", "cpu"):
        shim.to(name)
        assert shim.device == CPU
    with pytest.raises(DeviceError, match="cuda: this pipeline's encoder runs with OpenVINO"):
        shim.to("cuda")


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_an_optimized_encoder_cannot_be_trained(
    nlp: Language, request: pytest.FixtureRequest, backend: str
) -> None:
    component: Any = nlp.get_pipe("trf_tok2vec")
    shim = component.model.shim
    if backend == "openvino":
        shim.encoder = request.getfixturevalue("openvino_encoder")
    else:
        shim.encoder = cast_weights(shim.encoder, InferenceConfig("torch", "bf16"))
    example = Example.from_dict(nlp.make_doc("I love this film."), {})
    with pytest.raises(PipelineError, match="The encoder can't be trained") as caught:
        nlp.update([example])
    assert "Train the original pipeline" in (caught.value.hint or "")
    # It still predicts.
    assert np.isfinite(nlp("I love this film.").tensor).all()


def test_bfloat16_in_torch_predicts_nearly_the_same(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp(all_hidden_states=True, all_attentions=True)
    model: TransformersWrapper = nlp.get_pipe("trf_tok2vec").model  # type: ignore[attr-defined]
    docs = list(nlp.pipe(["I love this film.", "Unbelievable!"]))
    X = word_pieces(docs)
    expected = model.predict(X)
    model.shim.encoder = cast_weights(model.shim.encoder, InferenceConfig("torch", "bf16"))
    actual = model.predict(X)
    assert expected.all_attentions is not None
    assert actual.all_attentions is not None
    pairs = [
        (actual.last_hidden_state, expected.last_hidden_state),
        (actual.pooler_output, expected.pooler_output),
        (actual.all_attentions[0], expected.all_attentions[0]),
    ]
    for half, full in pairs:
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, full, atol=0.15)
        assert (half != full).any()
    again = pickle.loads(pickle.dumps(model)).predict(X)
    np.testing.assert_array_equal(again.last_hidden_state, actual.last_hidden_state)
