import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GPT2LMHeadModel,
    IBertConfig,
    RobertaConfig,
)

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import pretrained


def old_layout(tiny_bert: Path, path: Path, **facts: object) -> Path:
    """Save a model as before model types: pytorch_model.bin, vocab.txt and a config."""
    path.mkdir(parents=True)
    weights = load_file(tiny_bert / "model.safetensors")
    torch.save({f"bert.{key}": value for key, value in weights.items()}, path / "pytorch_model.bin")
    vocab = AutoTokenizer.from_pretrained(tiny_bert).get_vocab()
    (path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)), "utf-8")
    config = json.loads((tiny_bert / "config.json").read_text())
    for key in ("model_type", "architectures", "dtype", "transformers_version"):
        config.pop(key, None)
    (path / "config.json").write_text(json.dumps(config | facts))
    return path


@pytest.mark.parametrize("architecture", ["BertForMaskedLM", "BertModel"])
def test_architectures_identify_a_config_without_a_model_type(
    tiny_bert: Path, tmp_path: Path, architecture: str
) -> None:
    path = old_layout(tiny_bert, tmp_path / "albert", architectures=[architecture])
    module = pretrained.load_model(path)
    expected = AutoModel.from_pretrained(tiny_bert).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())
    tokenizer = pretrained.load_tokenizer(path)
    text = "I love Zürich's cafés"
    assert (
        tokenizer(text)["input_ids"] == AutoTokenizer.from_pretrained(tiny_bert)(text)["input_ids"]
    )
    assert pretrained.max_length(path, tokenizer) == 64
    module.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["model_type"] == "bert"


@pytest.mark.parametrize("facts", [{}, {"architectures": ["NoSuchModel"]}])
def test_a_config_without_a_model_type_or_a_known_architecture_is_an_error(
    tiny_bert: Path, tmp_path: Path, facts: dict[str, object]
) -> None:
    path = old_layout(tiny_bert, tmp_path / "scibert", **facts)
    for load in (pretrained.load_model, pretrained.load_tokenizer):
        with pytest.raises(EncoderError) as caught:
            load(path)
        assert caught.value.message == f"{path}/config.json: has no model_type"
        assert caught.value.hint is not None
        assert '"model_type": "bert"' in caught.value.hint


def test_max_length_is_the_minimum_of_tokenizer_and_model(tiny_bert: Path, tiny_gpt2: Path) -> None:
    for path in (tiny_bert, tiny_gpt2):
        tokenizer = pretrained.load_tokenizer(path)
        assert pretrained.max_length(path, tokenizer) == 64
        tokenizer.model_max_length = int(1e30)
        assert pretrained.max_length(path, tokenizer) == 64
        tokenizer.model_max_length = 32
        assert pretrained.max_length(path, tokenizer) == 32


# I-BERT has embeddings of a class of its own.
@pytest.mark.parametrize("kind", [RobertaConfig, IBertConfig])
def test_max_length_excludes_the_positions_up_to_padding(
    tiny_bert: Path, tmp_path: Path, kind: type[RobertaConfig] | type[IBertConfig]
) -> None:
    config = kind(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    config.save_pretrained(tmp_path)
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    tokenizer.model_max_length = int(1e30)
    limit = pretrained.max_length(tmp_path, tokenizer)
    assert limit == 64
    model = AutoModel.from_config(config).eval()
    with torch.inference_mode():
        model(torch.full((1, limit), 5))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 5))


def test_max_length_of_a_model_without_a_limit(tiny_bert: Path, tmp_path: Path) -> None:
    fields = {"model_type": "xlnet", "d_model": 8, "n_layer": 1, "n_head": 2, "vocab_size": 10}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    tokenizer.model_max_length = int(1e30)
    assert pretrained.max_length(tmp_path, tokenizer) is None


@pytest.mark.parametrize("model_type", sorted(pretrained._POSITIONS_FROM_ZERO))
def test_models_that_number_positions_from_zero(model_type: str) -> None:
    config = AutoConfig.for_model(model_type)
    assert list(pretrained._positions_after_padding(config)) == []


def changed(encoder: Path, path: Path, config: dict[str, object], **weights: torch.Tensor) -> Path:
    """Copy an encoder with other values in its config, and with more weights."""
    shutil.copytree(encoder, path)
    facts = json.loads((encoder / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(facts | config))
    weights = load_file(encoder / "model.safetensors") | weights
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.mark.parametrize(
    ("encoder", "setting"), [("tiny_bert", "num_hidden_layers"), ("tiny_gpt2", "n_layer")]
)
def test_fewer_layers_than_the_weights_have(
    request: pytest.FixtureRequest, tmp_path: Path, encoder: str, setting: str
) -> None:
    path = changed(request.getfixturevalue(encoder), tmp_path / "fewer", {setting: 1})
    with pytest.raises(EncoderError, match=r"weights that its config doesn't name \(1\d, such"):
        pretrained.load_model(path)


def test_fewer_layers_than_a_model_with_a_head_has(tiny_gpt2: Path, tmp_path: Path) -> None:
    GPT2LMHeadModel(AutoConfig.from_pretrained(tiny_gpt2)).save_pretrained(tmp_path / "lm")
    pretrained.load_model(tmp_path / "lm")
    path = changed(tmp_path / "lm", tmp_path / "fewer", {"n_layer": 1})
    with pytest.raises(EncoderError, match=r"such as transformer\.h\.1"):
        pretrained.load_model(path)


def test_weights_of_the_encoder_that_its_class_does_not_have(
    tiny_bert: Path, tmp_path: Path
) -> None:
    adapter = {"encoder.layer.0.adapter.weight": torch.zeros(2, 2)}
    path = changed(tiny_bert, tmp_path / "adapted", {}, **adapter)
    with pytest.raises(EncoderError, match=r"such as encoder\.layer\.0\.adapter\.weight"):
        pretrained.load_model(path)


@pytest.mark.parametrize(
    ("encoder", "name"),
    [
        ("tiny_bert", "cls.predictions.bias"),
        ("tiny_bert", "embeddings.position_ids"),
        ("tiny_gpt2", "h.0.attn.bias"),
        ("tiny_gpt2", "h.0.attn.masked_bias"),
        ("tiny_gpt2", "lm_head.weight"),
    ],
)
def test_heads_and_constants_need_no_name(
    request: pytest.FixtureRequest, tmp_path: Path, encoder: str, name: str
) -> None:
    weights = {name: torch.zeros(1, 2)}
    source = request.getfixturevalue(encoder)
    found = pretrained.load_model(changed(source, tmp_path / "more", {}, **weights)).state_dict()
    expected = pretrained.load_model(source).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
