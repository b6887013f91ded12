from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from classifiers import make, multilingual
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline import TransformersLanguage, TransformersTok2Vec
from trfcli_pipeline.encoder.activations import KINDS
from trfcli_pipeline.errors import EncoderError, PipelineError

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose on the news. Apple pie is delicious!  And more.",
    "",
    " ",
    "\n\nI love\tthis film 😀 .\n",
    "Zürich's cafés reopened. [SEP] Unbelievable!",
    "apple " * 100 + ". I love it.",
]
MAX_LENGTH = 64
WIDTH = 16


@pytest.fixture(scope="module")
def bert(tiny_bert: Path) -> Language:
    return make(multilingual(), tiny_bert)


@pytest.fixture(scope="module")
def gpt2(tiny_gpt2: Path) -> Language:
    return make(multilingual(), tiny_gpt2)


def rows_by_sentence(doc: Doc) -> Iterator[Any]:
    start = 0
    for length in doc._.trf_segments[:, 2].tolist():
        yield doc._.trf_last_hidden_state[start : start + length]
        start += length


# --- what is on the Doc ---


@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("text", TEXTS)
def test_sentences_are_encoded_as_by_the_plain_model(
    request: pytest.FixtureRequest, name: str, text: str
) -> None:
    nlp = request.getfixturevalue(name)
    path = nlp.get_pipe("trf_tok2vec").trf_name
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    doc = nlp(text)
    sentences = list(doc.sents)
    assert len(list(rows_by_sentence(doc))) == len(sentences)
    for i, (sentence, rows) in enumerate(zip(sentences, rows_by_sentence(doc), strict=True)):
        inputs = tokenizer(
            sentence.text,
            truncation=True,
            max_length=MAX_LENGTH,
            split_special_tokens=True,
            return_tensors="pt",
        )
        if not inputs["input_ids"].numel():
            # GPT-2 adds no special tokens, so that a blank sentence may have no wordpieces.
            assert len(rows) == 0
            continue
        with torch.inference_mode():
            expected = model(**inputs)
        np.testing.assert_allclose(rows, expected.last_hidden_state[0], atol=3e-5)
        if name == "bert":
            pooled = expected.pooler_output[0]
            np.testing.assert_allclose(doc._.trf_pooler_output[i], pooled, atol=3e-5)
        else:
            assert doc._.trf_pooler_output is None
    assert doc._.trf_all_hidden_states is None
    assert doc._.trf_all_attentions is None


@settings(max_examples=60)
@given(
    text=st.text(max_size=60)
    | st.text(st.sampled_from("ab .!?\n\t\u3000\u0301é😀中[SEP]"), max_size=200)
)
@example(text="")
@example(text="\n")
@example(text="a b " * 100)
def test_token_rows_sum_to_the_wordpiece_rows(bert: Language, gpt2: Language, text: str) -> None:
    for nlp in (bert, gpt2):
        doc = nlp(text)
        assert doc.tensor.shape == (len(doc), WIDTH)
        assert doc.tensor.dtype == np.float32
        assert np.isfinite(doc.tensor).all()
        np.testing.assert_allclose(
            doc.tensor.sum(axis=0), doc._.trf_last_hidden_state.sum(axis=0), rtol=1e-4, atol=1e-3
        )


def test_a_token_sums_its_wordpieces_and_its_share_of_the_special_tokens(bert: Language) -> None:
    doc = bert("Zürich's film")
    hidden, alignment = doc._.trf_last_hidden_state, doc._.trf_alignment
    assert not set(alignment[0]) & set(alignment[1])
    special = hidden[0] + hidden[-1]
    for token in doc:
        expected = hidden[alignment[token.i]].sum(axis=0) + special / len(doc)
        np.testing.assert_allclose(doc.tensor[token.i], expected, atol=1e-5)


@pytest.mark.parametrize("words_per_batch", [0, 1, 7, 100, 2000])
def test_a_text_has_the_same_vectors_in_any_batch(bert: Language, words_per_batch: int) -> None:
    attrs = bert.get_pipe("trf_tok2vec").model.attrs
    alone = [bert(text) for text in TEXTS]
    attrs["words_per_batch"] = words_per_batch
    try:
        batches = [list(bert.pipe(TEXTS, batch_size=size)) for size in (1, 3, 100)]
        batches.append(list(bert.pipe(TEXTS[::-1]))[::-1])
    finally:
        attrs["words_per_batch"] = 2000
    for docs in batches:
        for doc, expected in zip(docs, alone, strict=True):
            np.testing.assert_allclose(doc.tensor, expected.tensor, atol=2e-5)
            for name in ("trf_last_hidden_state", "trf_pooler_output"):
                np.testing.assert_allclose(doc._.get(name), expected._.get(name), atol=2e-5)


def test_truncated_tokens_have_zero_vectors(bert: Language) -> None:
    doc = bert("apple " * 100 + ". I love it.")
    cut = int(doc._.trf_segments[0, 1])
    assert 0 < cut < 100
    assert doc.tensor[:cut].any(axis=1).all()
    assert not doc.tensor[cut:101].any()
    assert doc.tensor[101:].any(axis=1).all()
    assert not doc[cut].has_vector
    assert doc[cut].vector_norm == 0.0


def test_whitespace_tokens_have_a_share_of_the_special_tokens(bert: Language) -> None:
    doc = bert("I  love")
    assert doc[1].is_space
    hidden = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc[1].vector, (hidden[0] + hidden[-1]) / 3, atol=1e-6)


def test_hidden_states_and_attentions_are_optional(tiny_bert: Path) -> None:
    nlp = make(multilingual(), tiny_bert, all_hidden_states=True, all_attentions=True)
    texts = ["I love it. I hate this film.", ""]
    doc, empty = nlp.pipe(texts)
    n_pieces = len(doc._.trf_word_pieces)
    assert [layer.shape for layer in doc._.trf_all_hidden_states] == [(n_pieces, WIDTH)] * 3
    np.testing.assert_array_equal(doc._.trf_all_hidden_states[-1], doc._.trf_last_hidden_state)
    lengths = doc._.trf_segments[:, 2].tolist()
    assert [each.shape for each in doc._.trf_all_attentions] == [(2, 4, n, n) for n in lengths]
    for attentions in doc._.trf_all_attentions:
        np.testing.assert_allclose(attentions.sum(axis=-1), 1.0, atol=1e-5)
    assert doc._.all_attentions is doc._.trf_all_attentions
    assert [layer.shape for layer in empty._.trf_all_hidden_states] == [(0, WIDTH)] * 3
    assert empty._.trf_all_attentions == []


# --- what stays on the Doc ---

KEEP = {
    "all": {"last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions"},
    "tensor": set(),
    "pooler_output": {"pooler_output"},
}


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        *KEEP.items(),
        ([], set()),
        (["tensor"], set()),
        (
            ["tensor", "last_hidden_state", "all_attentions"],
            {"last_hidden_state", "all_attentions"},
        ),
    ],
)
def test_keep_selects_the_activations_on_the_doc(
    tiny_bert: Path, keep: Any, kept: set[str]
) -> None:
    nlp = make(multilingual(), tiny_bert, keep=keep, all_hidden_states=True, all_attentions=True)
    for doc in [nlp(TEXTS[1]), *nlp.pipe(TEXTS)]:
        assert doc.tensor.shape == (len(doc), WIDTH)
        assert {kind for kind in KINDS if doc._.get(f"trf_{kind}") is not None} == {
            *kept,
            "segment_sums",
        }
        assert doc._.trf_word_pieces is not None


@pytest.mark.parametrize("keep", ["tensors", ["last_hidden_state", "hidden"], ""])
def test_unknown_activations_cannot_be_kept(keep: Any) -> None:
    with pytest.raises(PipelineError, match="keep: unknown value ") as caught:
        spacy.blank("xx").add_pipe("trf_tok2vec", config={"keep": keep})
    assert "last_hidden_state" in caught.value.hint


def test_a_stream_keeps_only_token_rows_and_sums_in_memory(tiny_bert: Path) -> None:
    nlp = make(multilingual(), tiny_bert, keep="tensor")
    docs = list(nlp.pipe(TEXTS * 5, batch_size=3))
    rows = {}
    for doc in docs:
        held = [each for each in doc.user_data.values() if isinstance(each, np.ndarray)]
        # A Doc may keep the rows of its whole batch, but no other arrays.
        for array in (doc.tensor, *(each for each in held if each.dtype.kind == "f")):
            base = array if array.base is None else array.base
            rows[id(base)] = base.nbytes
    n_rows = sum(len(doc) + len(doc._.trf_segments) for doc in docs)
    assert sum(rows.values()) == n_rows * WIDTH * 4


# --- making, saving and loading ---


def test_trf_name_is_required() -> None:
    nlp = spacy.blank("xx")
    tok2vec = nlp.add_pipe("trf_tok2vec")
    with pytest.raises(PipelineError, match="weights aren't loaded yet"):
        _ = tok2vec.transformers_model
    with pytest.raises(EncoderError, match="No encoder is given"):
        nlp.initialize()


def test_missing_wordpieces_are_an_error(bert: Language) -> None:
    with pytest.raises(PipelineError, match="A Doc has no wordpieces") as caught:
        bert.get_pipe("trf_tok2vec")(bert.make_doc("I love it."))
    assert "trf_wordpiecer" in str(caught.value)


def test_initialize_keeps_loaded_weights(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    tok2vec = TransformersTok2Vec.from_nlp(nlp)
    assert tok2vec.trf_name == str(tiny_bert)
    tok2vec.initialize(list)
    tok2vec.transformers_model.embeddings.word_embeddings.weight.data.zero_()
    tok2vec.initialize(list)
    assert not tok2vec.transformers_model.embeddings.word_embeddings.weight.any()
    assert tok2vec.token_vector_width == WIDTH


def test_model_creates_a_model_with_weights(tiny_bert: Path) -> None:
    model = TransformersTok2Vec.Model(str(tiny_bert), words_per_batch=100)
    assert model.get_dim("nO") == WIDTH
    assert model.attrs["words_per_batch"] == 100
    tok2vec = TransformersTok2Vec(spacy.blank("xx").vocab, model)
    assert tok2vec.transformers_model is model.shim.module


@pytest.mark.parametrize("way", ["disk", "bytes"])
@pytest.mark.parametrize("encoder", ["tiny_bert", "tiny_bert_without_pooler", "tiny_gpt2"])
def test_a_saved_encoder_returns_the_same_activations(
    request: pytest.FixtureRequest, tmp_path: Path, way: str, encoder: str
) -> None:
    nlp = make(multilingual(), request.getfixturevalue(encoder))
    tok2vec = nlp.get_pipe("trf_tok2vec")
    again = TransformersTok2Vec(nlp.vocab)
    if way == "disk":
        tok2vec.to_disk(tmp_path / "trf_tok2vec")
        files = {path.name for path in (tmp_path / "trf_tok2vec" / "model").iterdir()}
        assert files == {"config.json", "inference.json", "model.safetensors"}
        again.from_disk(tmp_path / "trf_tok2vec")
    else:
        again.from_bytes(tok2vec.to_bytes())
    assert again.cfg == tok2vec.cfg
    with nlp.select_pipes(disable=["trf_tok2vec"]):
        docs = list(nlp.pipe(TEXTS))
    one, other = tok2vec.predict(docs), again.predict(docs)
    np.testing.assert_array_equal(one.last_hidden_state, other.last_hidden_state)
    if encoder == "tiny_bert":
        np.testing.assert_array_equal(one.pooler_output, other.pooler_output)
    else:
        assert one.pooler_output is other.pooler_output is None


def test_settings_come_from_the_pipelines_config(
    make_nlp: Callable[..., Language], tmp_path: Path
) -> None:
    make_nlp(words_per_batch=100).to_disk(tmp_path)
    config = {"components": {"trf_tok2vec": {"words_per_batch": 50, "all_hidden_states": True}}}
    nlp = spacy.load(tmp_path, config=config)
    assert nlp.get_pipe("trf_tok2vec").model.attrs["words_per_batch"] == 50
    assert len(nlp("I love it.")._.trf_all_hidden_states) == 3


def test_automatic_sub_batches_are_saved(make_nlp: Callable[..., Language], tmp_path: Path) -> None:
    nlp = make_nlp(words_per_batch="auto")
    texts = [*TEXTS, *TEXTS]
    docs = list(nlp.pipe(texts))
    for doc, other in zip(docs, make_nlp().pipe(texts), strict=True):
        np.testing.assert_allclose(doc.tensor, other.tensor, rtol=0, atol=1e-5)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path).get_pipe("trf_tok2vec")
    assert loaded.cfg["words_per_batch"] == loaded.model.attrs["words_per_batch"] == "auto"


@pytest.mark.parametrize("value", [-1, "many"])
def test_invalid_words_per_batch_is_an_error(value: int | str) -> None:
    with pytest.raises(PipelineError, match=f"words_per_batch: invalid value {value!r}"):
        spacy.blank("xx").add_pipe("trf_tok2vec", config={"words_per_batch": value})
