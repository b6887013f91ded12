import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.training import Example

from trfcli_pipeline.encoder.backends import (
    Encoder,
    InferenceConfig,
    cast_weights,
    load_encoder,
    save_encoder,
)
from trfcli_pipeline.encoder.capabilities import EncoderCapabilities
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.openvino_backend import OpenVINOEncoder
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.errors import DeviceError, PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces

CPU = torch.device("cpu")


def plain(path: Path) -> Encoder:
    return load_encoder(path, all_hidden_states=False, all_attentions=False, device=CPU)


@pytest.fixture(scope="module")
def in_openvino(tiny_bert: Path) -> Encoder:
    encoder = plain(tiny_bert)
    module = convert(
        encoder.module, encoder.capabilities, "fp32", all_hidden_states=False, examples=[]
    )
    return Encoder(module, encoder.capabilities, InferenceConfig("openvino", "fp32"))


def test_what_can_be_trained() -> None:
    assert InferenceConfig().is_trainable
    assert not InferenceConfig("torch", "bf16").is_trainable
    assert not InferenceConfig("openvino", "fp32").is_trainable


def test_saved_as_it_is_run(tiny_bert: Path, in_openvino: Encoder, tmp_path: Path) -> None:
    save_encoder(in_openvino, tmp_path / "openvino")
    found = plain(tmp_path / "openvino")
    assert isinstance(found.module, OpenVINOEncoder)
    assert found[1:] == in_openvino[1:]
    assert not list((tmp_path / "openvino").glob("*.safetensors"))

    half = cast_weights(plain(tiny_bert), "bf16")
    save_encoder(half, tmp_path / "half")
    found = plain(tmp_path / "half")
    assert {each.dtype for each in found.module.parameters()} == {torch.bfloat16}
    assert found[1:] == half[1:]
    # Rounding to 8 bits of mantissa would look as if padding mattered.
    assert found.capabilities.ignores_padding


def test_a_plain_encoder_takes_the_place_of_an_optimized_one(
    tiny_bert: Path, in_openvino: Encoder, tmp_path: Path
) -> None:
    save_encoder(in_openvino, tmp_path)
    save_encoder(plain(tiny_bert), tmp_path)
    assert plain(tmp_path).inference == InferenceConfig()


def test_what_it_cannot_give(in_openvino: Encoder, tmp_path: Path) -> None:
    save_encoder(in_openvino, tmp_path)
    for setting in ("all_hidden_states", "all_attentions"):
        model = TransformersWrapper(device="cpu", **{setting: True})
        with pytest.raises(PipelineError, match=f"optimized without {setting}"):
            model.from_disk(tmp_path)


def test_openvino_runs_on_the_cpu_only(in_openvino: Encoder, tmp_path: Path) -> None:
    save_encoder(in_openvino, tmp_path)
    model = TransformersWrapper()
    model.from_disk(tmp_path)
    assert model.shim.device == CPU
    for name in ("auto", "cpu"):
        model.shim.to(name)
        assert model.shim.device == CPU
    with pytest.raises(DeviceError, match="cuda: this pipeline's encoder runs with OpenVINO"):
        model.shim.to("cuda")


def test_traits_are_those_of_before(in_openvino: Encoder, tmp_path: Path) -> None:
    capabilities = EncoderCapabilities(
        frozenset({"input_ids"}), width=16, ignores_padding=False, has_types=False
    )
    save_encoder(in_openvino._replace(capabilities=capabilities), tmp_path)
    assert plain(tmp_path).capabilities == capabilities
    facts = json.loads((tmp_path / "inference.json").read_text())
    assert facts["parameters"] == plain(tmp_path).module.num_parameters() > 1000


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_training_is_refused(
    nlp: Language, in_openvino: Encoder, backend: str, make_nlp: Callable[..., Any]
) -> None:
    component: Any = nlp.get_pipe("trf_tok2vec")
    model = component.model
    model.shim.encoder = (
        in_openvino if backend == "openvino" else cast_weights(model.shim.encoder, "bf16")
    )
    example = Example.from_dict(nlp.make_doc("I love this film."), {})
    with pytest.raises(PipelineError, match="The encoder can't be trained") as caught:
        nlp.update([example])
    assert "Train the original pipeline" in (caught.value.hint or "")
    # It still predicts.
    assert np.isfinite(nlp("I love this film.").tensor).all()


def test_bf16_in_torch_gives_nearly_the_same(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp(all_hidden_states=True, all_attentions=True)
    model: TransformersWrapper = nlp.get_pipe("trf_tok2vec").model  # type: ignore[attr-defined]
    X = word_pieces(list(nlp.pipe(["I love this film.", "Unbelievable!"])))
    wanted = model.predict(X)
    model.shim.encoder = cast_weights(model.shim.encoder, "bf16")
    found = model.predict(X)
    assert wanted.all_attentions is not None
    assert found.all_attentions is not None
    pairs = [
        (found.last_hidden_state, wanted.last_hidden_state),
        (found.pooler_output, wanted.pooler_output),
        (found.all_attentions[0], wanted.all_attentions[0]),
    ]
    for half, whole in pairs:
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, whole, atol=0.15)
        assert (half != whole).any()
    again = pickle.loads(pickle.dumps(model)).predict(X)
    np.testing.assert_array_equal(again.last_hidden_state, found.last_hidden_state)
