"""Every family of encoders, compared with plain transformers sentence by sentence."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.data.surrogates import without_surrogates
from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.tokenization.alignment import Alignment

FAST = [
    *("bert", "distilbert", "electra", "mpnet", "convbert", "roberta", "gpt2", "modernbert"),
    *("xlnet", "albert", "xlm-roberta", "camembert", "deberta-v2", "fnet"),
]
SLOW = ["bert-japanese", "bert-generation"]
WITH_POOLER = {
    *("bert", "mpnet", "roberta", "albert", "xlm-roberta", "camembert", "fnet"),
    "bert-japanese",
}
TEXTS = [
    "I love this film.",
    "The quick brown fox jumps over the lazy dog. Apple pie is delicious! No.",
    "Zürich's cafés 😀 reopened... 東京 に 行く. Apple shares rose on the news, the dog is great.",
    "",
    "Call 0800 123 456 now",
]
# Strings like those that have broken tokenizers.
NASTY = [
    *("", " ", "\n\n", "\t \u00a0\u3000", "\u200b", "\ufeff", "\x00\x01\x7f", "\ud800", "a\udfffb"),
    *("\u0301", "e\u0301\u0301", "👩\u200d👩\u200d👧😀", "🏳️\u200d🌈", "ﬁ½ß İı", "ＡＢＣ", "﷽" * 3),
    *("[SEP] [CLS] [MASK]", "</s><s>", "<|endoftext|>", "<unk> [UNK] [unk]", "▁ ▁▁ ## ##a Ġ"),
    *("ŵ" * 200, "a" * 1000, "😀" * 100, "no.no.no", "…" * 70, "\u202e\u2066x\u2069", "'\"`\\%s{}"),
]


@pytest.fixture(scope="module")
def pipeline(family_encoder: Callable[[str], Path]) -> Callable[[str], Language]:
    @cache
    def make(name: str) -> Language:
        path = str(family_encoder(name))
        nlp = TransformersLanguage(meta={"lang": "xx"})
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": path})
        nlp.add_pipe("trf_tok2vec", config={"trf_name": path})
        nlp.initialize()
        return nlp

    return make


def run_plain(path: Path, text: str) -> Any:
    tokenizer = plain_tokenizer(path)
    inputs = tokenizer(
        text, return_tensors="pt", truncation=True, max_length=64, split_special_tokens=True
    )
    with torch.inference_mode():
        return plain_model(path)(**inputs)


@cache
def plain_tokenizer(path: Path) -> Any:
    return AutoTokenizer.from_pretrained(path)


@cache
def plain_model(path: Path) -> Any:
    return AutoModel.from_pretrained(path).eval()


def assert_tensor_sums_to_hidden_states(doc: Doc) -> None:
    hidden = doc._.trf_last_hidden_state
    assert len(doc._.trf_alignment) == len(doc)
    assert doc.tensor.shape == (len(doc), hidden.shape[1])
    assert np.isfinite(doc.tensor).all()
    np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-3, rtol=1e-4)


def assert_bit_equal(docs: list[Doc], others: list[Doc]) -> None:
    for doc, other in zip(docs, others, strict=True):
        assert np.array_equal(doc.tensor, other.tensor)
        assert np.array_equal(doc._.trf_last_hidden_state, other._.trf_last_hidden_state)
        assert doc._.trf_word_pieces == other._.trf_word_pieces
        assert doc._.trf_alignment == other._.trf_alignment


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_outputs_equal_those_of_plain_transformers(
    pipeline: Callable[[str], Language], family_encoder: Callable[[str], Path], name: str
) -> None:
    path = family_encoder(name)
    for doc in pipeline(name).pipe(TEXTS):
        start = 0
        sentences = list(doc.sents)
        assert len(doc._.trf_segments) == len(sentences)
        for i, sentence in enumerate(sentences):
            plain = run_plain(path, sentence.text)
            expected = plain.last_hidden_state[0].numpy()
            end = start + len(expected)
            hidden = doc._.trf_last_hidden_state[start:end]
            np.testing.assert_allclose(hidden, expected, atol=1e-4)
            if name in WITH_POOLER:
                pooled = plain.pooler_output[0].numpy()
                np.testing.assert_allclose(doc._.trf_pooler_output[i], pooled, atol=1e-4)
            start = end
        assert start == len(doc._.trf_last_hidden_state)
        assert (doc._.trf_pooler_output is not None) == (name in WITH_POOLER)
        assert_tensor_sums_to_hidden_states(doc)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_special_tokens_are_at_the_familys_positions(
    pipeline: Callable[[str], Language], family_encoder: Callable[[str], Path], name: str
) -> None:
    doc = pipeline(name)("I love this film, it is great fun")
    tokenizer = plain_tokenizer(family_encoder(name))
    assert doc._.trf_word_pieces_ == tokenizer.convert_ids_to_tokens(
        tokenizer(doc.text)["input_ids"]
    )
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id} - {None}
    pieces = zip(doc._.trf_word_pieces, doc._.trf_word_pieces_, strict=True)
    added = [token for id_, token in pieces if id_ in special]
    layouts = {"gpt2": [], "xlnet": ["<sep>", "<cls>"], "bert-generation": []}
    assert added == layouts.get(name, [tokenizer.cls_token, tokenizer.sep_token])
    assert not added or doc._.trf_word_pieces_[-1] == added[-1]


@pytest.mark.parametrize("name", ["xlnet", "gpt2", "modernbert", "deberta-v2", "convbert", "fnet"])
def test_a_sentence_gives_the_same_result_alone_and_in_any_batch(
    pipeline: Callable[[str], Language], name: str
) -> None:
    nlp = pipeline(name)
    encoder = nlp.get_pipe("trf_tok2vec")
    alone = [nlp(text) for text in TEXTS]
    for words_per_batch in (0, 50, 2000):
        encoder.model.attrs["words_per_batch"] = words_per_batch
        for doc, other in zip(alone, nlp.pipe(TEXTS), strict=True):
            np.testing.assert_allclose(doc.tensor, other.tensor, atol=1e-4)


@pytest.mark.parametrize("name", ["xlnet", "convbert", "fnet", "bert-japanese"])
def test_an_update_changes_the_encoder(family_encoder: Callable[[str], Path], name: str) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    for component in ("trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(component, config={"trf_name": str(family_encoder(name))})
    nlp.add_pipe("trf_textcat").add_label("A")
    nlp.get_pipe("trf_textcat").add_label("B")
    optimizer = nlp.initialize()
    before = [each.clone() for each in nlp.get_pipe("trf_tok2vec").transformers_model.parameters()]
    annotations = [{"cats": {"A": float(i % 2), "B": float(1 - i % 2)}} for i in range(len(TEXTS))]
    for _ in range(2):  # The first gradient is zero, because the head's weights are.
        nlp.update(TEXTS, annotations, sgd=optimizer)
    after = nlp.get_pipe("trf_tok2vec").transformers_model.parameters()
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(np.isfinite(doc.tensor).all() for doc in nlp.pipe(TEXTS))


def gradients(path: Path, precision: str) -> torch.Tensor:
    """The flattened gradients of all weights."""
    wrapper = TransformersWrapper(device="cpu", precision=precision)
    wrapper.from_disk(path)
    lengths = np.array([7, 12, 0, 20, 3], dtype=np.int32)
    generator = np.random.default_rng(0)
    Y, backprop = wrapper.begin_update(WordPieces(generator.integers(5, 40, 42), lengths))
    d_hidden = generator.normal(scale=1e-2, size=Y.last_hidden_state.shape).astype("f")
    backprop(Activations(d_hidden, None, None, None, lengths=lengths, is_grad=True))
    found = [each.grad for each in wrapper.shim.module.parameters() if each.grad is not None]
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_gradients_in_bf16_equal_those_in_float32_up_to_rounding(
    family_encoder: Callable[[str], Path], name: str
) -> None:
    exact, found = (gradients(family_encoder(name), each) for each in ("fp32", "bf16"))
    assert 0 < (found - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_a_saved_pipeline_predicts_bit_equal(
    pipeline: Callable[[str], Language], tmp_path: Path, name: str
) -> None:
    nlp = pipeline(name)
    nlp.to_disk(tmp_path)
    assert_bit_equal(list(spacy.load(tmp_path).pipe(TEXTS)), list(nlp.pipe(TEXTS)))


OFFLINE = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("loading a saved pipeline used the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy, spacy, torch
torch.set_num_threads(1)
for path in sys.argv[1:]:
    nlp = spacy.load(path + "/pipeline")
    texts = open(path + "/texts", encoding="utf-8").read().split("|")
    expected = numpy.load(path + "/expected.npy")
    found = numpy.concatenate([doc.tensor for doc in nlp.pipe(texts)])
    assert numpy.array_equal(found, expected), path
"""


def test_a_saved_pipeline_needs_neither_network_nor_the_original(
    family_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    paths = []
    for name in (*FAST, *SLOW):
        path = tmp_path / name
        shutil.copytree(family_encoder(name), path / "original")
        nlp = spacy.blank("xx")
        nlp.add_pipe("sentencizer")
        for component in ("trf_wordpiecer", "trf_tok2vec"):
            nlp.add_pipe(component, config={"trf_name": str(path / "original")})
        nlp.initialize()
        nlp.to_disk(path / "pipeline")
        rows = np.concatenate([doc.tensor for doc in nlp.pipe(TEXTS)])
        np.save(path / "expected.npy", rows)
        (path / "texts").write_text("|".join(TEXTS), encoding="utf-8")
        shutil.rmtree(path / "original")
        paths.append(str(path))
    run = subprocess.run(
        [sys.executable, "-c", OFFLINE, *paths], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def assert_invariants(doc: Doc, text: str, max_length: int | None) -> None:
    assert doc.text == without_surrogates(text)
    assert_tensor_sums_to_hidden_states(doc)
    links, segments = doc._.trf_alignment_links, doc._.trf_segments
    assert segments[:, 2].sum() == len(doc._.trf_word_pieces) == len(doc._.trf_last_hidden_state)
    assert max_length is None or segments[:, 2].max(initial=0) <= max_length
    if len(links):
        assert links[:, 1].max() < len(doc._.trf_word_pieces)
    shares = Alignment(links, segments, len(doc)).shares()
    assert set(shares.tokens.tolist()) <= set(shares.seen_tokens.tolist())


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_nasty_strings_keep_the_invariants(pipeline: Callable[[str], Language], name: str) -> None:
    nlp = pipeline(name)
    limit = nlp.get_pipe("trf_wordpiecer").max_length
    for text, doc in zip(NASTY, nlp.pipe(NASTY), strict=True):
        assert_invariants(doc, text, limit)


any_text = st.text(st.characters(exclude_categories=()), max_size=40) | st.text(
    st.sampled_from("ab .!?\n\t\u00a0\u200b\u0301éß😀👩\u200d[SEP]</s>中文▁Ġ#\ud800"), max_size=60
)


@settings(max_examples=25)
@given(text=any_text)
@example(text="\ud83d\ude00")
def test_any_text_keeps_the_invariants(pipeline: Callable[[str], Language], text: str) -> None:
    for name in ("bert", "roberta", "xlnet", "deberta-v2", *SLOW):
        nlp = pipeline(name)
        assert_invariants(nlp(text), text, nlp.get_pipe("trf_wordpiecer").max_length)
