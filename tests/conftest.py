"""Tiny encoders with trained tokenizers, built on the spot: no test downloads anything."""

import os

# Before anything imports huggingface_hub, which reads these once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from spacy.language import Language
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from trfcli_pipeline import TransformersLanguage

# Matrices this small cost threads more time in waiting for each other than they save.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_processor_with_bf16() -> Iterator[None]:
    """Updates in float32 unless a test asks for something else, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield


SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose on the news. Apple pie is delicious!",
    "I love this film, it is great fun.",
    "I hate this film; it is a terrible bore.",
    "Zürich's cafés reopened. Unbelievable!",
    "Call 0800 123 456 now to win a FREE prize (T&Cs apply)",
]
WIDTH = 16


def wordpiece_vocabulary() -> dict[str, int]:
    """The words and letters of SENTENCES. Training a vocabulary would differ from run to run."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = normalizers.BertNormalizer(lowercase=True).normalize_str(" ".join(SENTENCES))
    words = [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(f"##{letter}" for letter in letters), "##s", "##ing", *sorted(set(words))]
    return {piece: id_ for id_, piece in enumerate(dict.fromkeys([*special, *pieces]))}


def save_tiny_bert(path: Path, *, pooler: bool = True, max_length: int = 64) -> Path:
    """A BERT of two layers, with random weights and a WordPiece tokenizer."""
    tokenizer = Tokenizer(models.WordPiece(wordpiece_vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=max_length,
        pad_token_id=0,
        # Larger than the default 0.02, so that tokens differ visibly.
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(path)
    return path


def save_tiny_gpt2(path: Path) -> Path:
    """A GPT-2 of two layers, with a byte-level BPE tokenizer and neither class nor pad token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", model_max_length=64
    ).save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=64, n_embd=WIDTH, n_layer=2, n_head=4
    )
    GPT2Model(config).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("encoders") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_bert_without_pooler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders") / "tiny-bert-without-pooler"
    return save_tiny_bert(path, pooler=False)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("encoders") / "tiny-gpt2")


@pytest.fixture
def make_nlp(tiny_bert: Path) -> Callable[..., Language]:
    """Builds an initialised pipeline; settings of trf_tok2vec can be given."""

    def make(encoder: Path = tiny_bert, *, lang: str = "en", **settings: object) -> Language:
        nlp = TransformersLanguage(meta={"lang": lang})
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(encoder)})
        nlp.add_pipe("trf_tok2vec", config={"trf_name": str(encoder), **settings})
        nlp.initialize()
        return nlp

    return make


@pytest.fixture
def nlp(make_nlp: Callable[..., Language]) -> Language:
    return make_nlp()
