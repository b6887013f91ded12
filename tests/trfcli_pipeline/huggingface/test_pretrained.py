import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    T5Config,
)
from transformers.utils import logging as transformers_logging

from trfcli_pipeline.errors import EncoderError
from trfcli_pipeline.huggingface import pretrained

# --- tokenizers ---


def test_truncation_and_padding_in_tokenizer_files_are_disabled(
    tiny_bert: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=16)
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(tiny_bert / name, tmp_path)
    text = "apple " * 20
    backend = pretrained.load_tokenizer(tmp_path).backend_tokenizer
    assert len(backend.encode("apple").ids) < 8
    assert len(backend.encode(text).ids) > 16
    assert backend.encode(text).ids == AutoTokenizer.from_pretrained(tiny_bert)(text)["input_ids"]


@pytest.mark.parametrize("text", ["[SEP]", "a [MASK] b", "[CLS][PAD]"])
def test_text_that_looks_like_a_special_token_is_text(tiny_bert: Path, text: str) -> None:
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    encoding = tokenizer.backend_tokenizer.encode(text)
    assert encoding.ids[0] == tokenizer.cls_token_id
    assert encoding.ids[-1] == tokenizer.sep_token_id
    named = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id}
    assert not (named | {tokenizer.pad_token_id}) & set(encoding.ids[1:-1])
    # Brackets and names are separate wordpieces.
    assert len(encoding.ids) - 2 >= 3


def test_a_directory_with_only_a_config_has_no_tokenizer(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(EncoderError, match="tokenizer"):
        pretrained.load_tokenizer(tmp_path)


def test_a_broken_tokenizer_file_is_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EncoderError, match="can't load the tokenizer") as caught:
        pretrained.load_tokenizer(tmp_path)
    assert "\n" not in caught.value.message


# --- encoders ---


def test_a_trained_pooler_is_kept(tiny_bert: Path) -> None:
    trained = load_file(tiny_bert / "model.safetensors")["pooler.dense.weight"]
    module = pretrained.load_model(tiny_bert)
    assert torch.equal(module.pooler.dense.weight, trained)
    assert not module.training


def test_weights_are_where_those_of_a_copy_would_be(tiny_bert: Path) -> None:
    module = pretrained.load_model(tiny_bert)
    pointers = [each.data_ptr() for each in (*module.parameters(), *module.buffers())]
    assert not any(pointer % 64 for pointer in pointers)


def test_a_missing_pooler_is_left_out(tiny_bert_without_pooler: Path) -> None:
    module = pretrained.load_model(tiny_bert_without_pooler)
    assert module.pooler is None
    assert not any("pooler" in name for name, _ in module.named_parameters())
    with torch.inference_mode():
        output = module(torch.tensor([[2, 3]]))
    assert output.pooler_output is None
    assert output.last_hidden_state.shape == (1, 2, module.config.hidden_size)


def test_half_a_pooler_is_left_out(tiny_bert: Path, tmp_path: Path) -> None:
    _without(tiny_bert, tmp_path, "pooler.dense.bias")
    assert pretrained.load_model(tmp_path).pooler is None


def test_missing_weights_other_than_the_pooler_are_an_error(
    tiny_bert: Path, tmp_path: Path
) -> None:
    _without(tiny_bert, tmp_path, "encoder.layer.1.output.dense.weight")
    with pytest.raises(EncoderError, match=r"missing \(1, such as encoder\.layer\.1\.output"):
        pretrained.load_model(tmp_path)


def test_missing_weights_are_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_model(tmp_path)


def test_truncated_weights_are_an_error(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    weights = (tiny_bert / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(EncoderError, match="can't load the encoder"):
        pretrained.load_model(tmp_path)


def test_an_unknown_model_type_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(EncoderError, match=r"config\.json: can't be used: The checkpoint"):
        pretrained.load_model(tmp_path)


def _without(source: Path, target: Path, key: str) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)
    weights = load_file(source / "model.safetensors")
    del weights[key]
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})


def test_a_float16_checkpoint_is_loaded_in_float32(tiny_bert: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_bert).half().save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["pooler.dense.bias"].dtype == torch.float16
    module = pretrained.load_model(tmp_path)
    assert {each.dtype for each in module.parameters()} == {torch.float32}


def test_a_bfloat16_checkpoint_is_loaded_in_float32(tiny_bert: Path, tmp_path: Path) -> None:
    AutoModel.from_pretrained(tiny_bert).to(torch.bfloat16).save_pretrained(tmp_path)
    module = pretrained.load_model(tmp_path)
    assert {each.dtype for each in module.parameters()} == {torch.float32}
    assert module.config.dtype == torch.float32


@pytest.mark.parametrize("shards", [1, 3])
def test_pytorch_weights_are_loaded(tiny_bert: Path, tmp_path: Path, shards: int) -> None:
    weights = load_file(tiny_bert / "model.safetensors")
    shutil.copy(tiny_bert / "config.json", tmp_path)
    keys = sorted(weights)
    files = {}
    for shard in range(shards):
        own = keys[shard::shards]
        name = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        name = name if shards > 1 else "pytorch_model.bin"
        torch.save({key: weights[key] for key in own}, tmp_path / name)
        files |= dict.fromkeys(own, name)
    if shards > 1:
        index = {"metadata": {}, "weight_map": files}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for key, value in pretrained.load_model(tmp_path).state_dict().items():
        assert torch.equal(value, weights[key]), key


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("harmful", "w"))


def test_a_pickle_with_more_than_weights_is_refused(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_bert / "config.json", tmp_path)
    torch.save({"embeddings.word_embeddings.weight": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="its file contains more than weights"):
        pretrained.load_model(tmp_path)
    assert not (tmp_path / "harmful").exists()


def test_a_checkpoint_with_a_head_is_loaded_without_it(tiny_bert: Path, tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(tiny_bert)
    model = BertForMaskedLM(config)
    model.save_pretrained(tmp_path)
    assert any(key.startswith("bert.") for key in load_file(tmp_path / "model.safetensors"))
    module = pretrained.load_model(tmp_path)
    # A masked language model has no pooler.
    assert module.pooler is None
    expected = model.bert.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())


def test_code_from_a_checkpoint_is_not_run(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "no-such-model", "auto_map": {"AutoConfig": "harmful.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "harmful.py").write_text("raise SystemExit")
    with pytest.raises(EncoderError, match=r"config\.json: can't be used: .* custom code"):
        pretrained.load_model(tmp_path)


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    T5Config(vocab_size=10, d_model=8, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="t5 is an encoder-decoder"):
        pretrained.load_model(tmp_path)


def test_a_model_loaded_for_attentions_returns_them(tiny_bert: Path) -> None:
    module = pretrained.load_model(tiny_bert, all_attentions=True)
    with torch.inference_mode():
        output = module(torch.tensor([[2, 7, 3]]), output_attentions=True)
    assert [each.shape for each in output.attentions] == [(1, 4, 3, 3)] * 2


# --- files ---


def test_files_of_a_tokenizer_survive_a_round_trip(tiny_bert: Path) -> None:
    tokenizer = pretrained.load_tokenizer(tiny_bert)
    files = pretrained.to_files(tokenizer.save_pretrained)
    assert "tokenizer.json" in files
    with pretrained.from_files(files) as path:
        assert {file.name: file.read_bytes() for file in path.iterdir()} == files
        again = pretrained.load_tokenizer(path)
    assert not path.exists()
    assert again.get_vocab() == tokenizer.get_vocab()


def test_files_in_folders_survive() -> None:
    files = {"a.txt": b"1", "folder/b.txt": b"2"}

    def write(path: Path) -> None:
        for name, content in files.items():
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(content)

    assert pretrained.to_files(write) == files
    with pretrained.from_files(files) as path:
        assert (path / "folder" / "b.txt").read_bytes() == b"2"


def test_settings_of_transformers_logging_are_left_alone(tiny_bert: Path) -> None:
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_info()
    try:
        pretrained.load_model(tiny_bert)
        assert transformers_logging.get_verbosity() == transformers_logging.INFO
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.set_verbosity(before)
