"""Tiny encoders of many families: real classes and special tokens, trained on a few sentences."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose on the news. Apple pie is delicious!",
    "I love this film, it is great fun. I hate this film; it is a terrible bore.",
    "Zürich's cafés reopened. Unbelievable! 東京 に 行く",
]
LIMIT = 64
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_LAYERS = {**_SIZES, "intermediate_size": 48, "max_position_embeddings": LIMIT}
# Like `_LAYERS`, for models that number positions from after the padding id.
_ROBERTA = {
    **_LAYERS,
    "max_position_embeddings": LIMIT + 2,
    "pad_token_id": 1,
    "type_vocab_size": 1,
}
_BERT_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ROBERTA_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _word_pieces(special: list[str]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return {"vocab": tokenizer.get_vocab()}


def _byte_pairs(special: list[str]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=350, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def _unigrams(special: list[str]) -> dict[str, Any]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    unknown = next(token for token in special if "unk" in token.lower())
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token=unknown)
    tokenizer.train_from_iterator(TEXTS, trainer)
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    return {"vocab": [(piece, score) for piece, score in vocab]}


def _modernbert_tokenizer(path: Path) -> Any:
    backend = Tokenizer(models.BPE(**_byte_pairs(_BERT_TOKENS)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), _BERT_TOKENS, strict=True))
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def _japanese_tokenizer(path: Path) -> Any:
    vocab = _word_pieces(_BERT_TOKENS)["vocab"]
    path.mkdir(parents=True)
    (path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.get)), encoding="utf-8")
    return hf.BertJapaneseTokenizer(str(path / "vocab.txt"), do_lower_case=True)


def _sentencepiece_tokenizer(path: Path) -> Any:
    path.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_prefix=str(path / "spiece"),
        vocab_size=60,
        pad_id=3,
        minloglevel=2,
    )
    (path / "spiece.vocab").unlink()
    return hf.BertGenerationTokenizer(str(path / "spiece.model"))


def _character_tokenizer(path: Path) -> Any:
    return hf.CanineTokenizer()


@dataclass(frozen=True)
class Family:
    """How to build an encoder.

    Attributes:
        train: Trains the vocabulary; `tokenizer` takes it.
        settings: The config's, beside the size of the vocabulary.
    """

    tokenizer: Callable[..., Any]
    config: type[Any]
    settings: dict[str, Any] = field(default_factory=lambda: _LAYERS)
    train: Callable[[list[str]], dict[str, Any]] | None = None
    special: list[str] = field(default_factory=lambda: _BERT_TOKENS)

    def save(self, path: Path) -> None:
        if self.train is None:
            tokenizer = self.tokenizer(path)
        else:
            tokenizer = self.tokenizer(**self.train(self.special))
        tokenizer.save_pretrained(path)
        torch.manual_seed(0)
        settings = {
            "bos_token_id": None,
            "eos_token_id": None,
            "initializer_range": 0.3,
            **({} if self.config is hf.CanineConfig else {"vocab_size": len(tokenizer)}),
            **self.settings,
        }
        hf.AutoModel.from_config(self.config(**settings)).save_pretrained(path)


FAMILIES = {
    "bert": Family(hf.BertTokenizer, hf.BertConfig, train=_word_pieces),
    "distilbert": Family(
        hf.DistilBertTokenizer,
        hf.DistilBertConfig,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
        _word_pieces,
    ),
    "electra": Family(
        hf.ElectraTokenizer, hf.ElectraConfig, {**_LAYERS, "embedding_size": 16}, _word_pieces
    ),
    "mpnet": Family(
        hf.MPNetTokenizer,
        hf.MPNetConfig,
        _ROBERTA,
        _word_pieces,
        ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"],
    ),
    # Its convolutions look past the mask.
    "convbert": Family(
        hf.ConvBertTokenizer, hf.ConvBertConfig, {**_LAYERS, "embedding_size": 16}, _word_pieces
    ),
    "roberta": Family(
        hf.RobertaTokenizer, hf.RobertaConfig, _ROBERTA, _byte_pairs, _ROBERTA_TOKENS
    ),
    "gpt2": Family(
        hf.GPT2Tokenizer,
        hf.GPT2Config,
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": LIMIT},
        _byte_pairs,
        ["<|endoftext|>"],
    ),
    "modernbert": Family(
        _modernbert_tokenizer,
        hf.ModernBertConfig,
        # Fewer than a sentence has, so that some layers don't see all of it.
        {
            **_LAYERS,
            "local_attention": 6,
            "global_attn_every_n_layers": 2,
            "pad_token_id": 0,
            "cls_token_id": 2,
            "sep_token_id": 3,
        },
    ),
    "xlnet": Family(
        hf.XLNetTokenizer,
        hf.XLNetConfig,
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "pad_token_id": 5},
        _unigrams,
        ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
    ),
    "albert": Family(
        hf.AlbertTokenizer,
        hf.AlbertConfig,
        {**_LAYERS, "embedding_size": 16},
        _unigrams,
        ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    ),
    "xlm-roberta": Family(
        hf.XLMRobertaTokenizer, hf.XLMRobertaConfig, _ROBERTA, _unigrams, _ROBERTA_TOKENS
    ),
    "camembert": Family(
        hf.CamembertTokenizer,
        hf.CamembertConfig,
        _ROBERTA,
        _unigrams,
        [
            *("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>"),
            *("<unk>NOTUSED", "<s>", "</s>", "<mask>"),
        ],
    ),
    "deberta-v2": Family(
        hf.DebertaV2Tokenizer,
        hf.DebertaV2Config,
        {
            **_LAYERS,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        },
        _unigrams,
        ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
    ),
    "fnet": Family(
        hf.AlbertTokenizer,
        hf.FNetConfig,
        _LAYERS,
        _unigrams,
        ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    ),
    "bert-japanese": Family(_japanese_tokenizer, hf.BertConfig),
    "bert-generation": Family(
        _sentencepiece_tokenizer, hf.BertGenerationConfig, {**_LAYERS, "pad_token_id": 3}
    ),
    # Takes no text of fewer than four characters.
    "canine": Family(_character_tokenizer, hf.CanineConfig, _SIZES),
}


@pytest.fixture(scope="session")
def family_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds the encoder of a family, once."""
    folder = tmp_path_factory.mktemp("families")

    def build(name: str) -> Path:
        if not (folder / name / "config.json").exists():
            FAMILIES[name].save(folder / name)
        return folder / name

    return build


@pytest.fixture(params=["tiny_bert", "tiny_gpt2"])
def encoder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)
