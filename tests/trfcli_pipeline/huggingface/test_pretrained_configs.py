import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, IBertConfig, RobertaConfig

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
