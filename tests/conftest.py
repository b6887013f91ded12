"""Tiny encoders with trained tokenizers, built on the spot: no test downloads anything."""

import gc
import os

# Set these before anything imports huggingface_hub, which reads them once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# With matrices this small, threads wait longer for each other than they compute. Torch, OpenBLAS
# and the processes that tests start read this once.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import catalogue
import huggingface_hub
import hypothesis
import pytest
import torch
from fake_hub import FakeHub
from huggingface_hub import constants
from spacy.language import Language
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from trfcli_pipeline import TransformersLanguage

# Machines differ too much in speed for a time limit. Fifty examples keep the suite fast.
hypothesis.settings.register_profile("trfcli", deadline=None, max_examples=50)
hypothesis.settings.load_profile("trfcli")


# Whenever spaCy looks up a function, catalogue searches all entry points of the environment, unless
# they are in a dictionary.
_entry_points = entry_points()
catalogue.AVAILABLE_ENTRY_POINTS = {
    group: _entry_points.select(group=group) for group in _entry_points.groups
}


def pytest_collection_finish() -> None:
    """Leave what has been imported out of garbage collections, which take 0.2 seconds otherwise."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_processor_with_bf16() -> Iterator[None]:
    """Train in float32 unless a test asks for something else, whatever this machine supports."""
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
    """Return the words and letters of SENTENCES; a trained vocabulary would differ between runs."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = normalizers.BertNormalizer(lowercase=True).normalize_str(" ".join(SENTENCES))
    words = [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text)]
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(f"##{letter}" for letter in letters), "##s", "##ing", *sorted(set(words))]
    return {piece: id_ for id_, piece in enumerate(dict.fromkeys([*special, *pieces]))}


def save_tiny_bert(path: Path, *, pooler: bool = True, max_length: int = 64) -> Path:
    """Save a BERT with two layers, random weights and a WordPiece tokenizer."""
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
        # Larger than the default of 0.02, so that tokens differ clearly.
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(path)
    return path


def save_tiny_gpt2(path: Path) -> Path:
    """Save a GPT-2 with two layers and a byte-level BPE tokenizer without class and pad token."""
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
    """Create an initialized pipeline; `settings` are those of trf_tok2vec.

    By default its language is "xx", because English takes longer than everything else.
    """

    def make(encoder: Path = tiny_bert, *, lang: str = "xx", **settings: object) -> Language:
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


@pytest.fixture
def go_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Point huggingface_hub to another hub, with an empty cache of its own.

    We set its constants, which it looks up at each use, because it reads its environment variables
    only once.
    """

    def go(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            url + "/{repo_id}/resolve/{revision}/{filename}",
        )

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield go
    huggingface_hub.close_session()


@pytest.fixture
def hub(go_online: Callable[[str], None]) -> Iterator[FakeHub]:
    hub = FakeHub()
    go_online(hub.url)
    yield hub
    # Close the connections first; the server would wait for them.
    huggingface_hub.close_session()
    hub.stop()
