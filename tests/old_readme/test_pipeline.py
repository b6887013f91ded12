"""The second half of that README: attributes, the pipeline, the alignment, and batches."""

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
import transformers as hf
from classifiers import encoder_weights, same
from old_readme_pipelines import (
    EVERYTHING,
    GRADIENTS,
    HEADS,
    LAYERS,
    MAX_LENGTH,
    TEXT,
    TEXTS,
    WIDTH,
    set_up,
)
from safetensors.torch import load_file
from spacy.language import Language
from spacy.tokens import Doc, Span, Token
from typer.testing import CliRunner

from trfcli.app import app
from trfcli_pipeline import TransformersLanguage, TransformersTok2Vec, TransformersWordPiecer
from trfcli_pipeline.errors import PipelineError

# --- Extension attributes ---


def test_trf_alignment_is_a_list_of_indices_for_each_token(doc: Doc) -> None:
    alignment = doc._.trf_alignment
    assert len(alignment) == len(doc)
    assert all(type(index) is int for indices in alignment for index in indices)


def test_trf_alignment_of_a_token_is_its_list_of_indices(doc: Doc) -> None:
    assert [token._.trf_alignment for token in doc] == doc._.trf_alignment
    assert doc[0]._.trf_alignment == [1]


def test_trf_word_pieces_are_ids(doc: Doc, tiny_bert: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    expected = [tokenizer(sentence.text)["input_ids"] for sentence in doc.sents]
    assert doc._.trf_word_pieces == [id_ for ids in expected for id_ in ids]


def test_trf_word_pieces_with_an_underscore_are_strings(doc: Doc, tiny_bert: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    assert doc._.trf_word_pieces_ == tokenizer.convert_ids_to_tokens(doc._.trf_word_pieces)
    assert doc._.trf_word_pieces_[:3] == ["[CLS]", "apple", "shares"]


def test_trf_last_hidden_state_is_an_array(doc: Doc) -> None:
    assert isinstance(doc._.trf_last_hidden_state, np.ndarray)
    assert doc._.trf_last_hidden_state.shape == (len(doc._.trf_word_pieces), WIDTH)


def test_trf_pooler_output_has_an_array_for_each_sentence(doc: Doc) -> None:
    assert [each.shape for each in doc._.trf_pooler_output] == [(WIDTH,)] * 2


def test_trf_all_hidden_states_is_a_list_of_arrays(doc: Doc) -> None:
    states = doc._.trf_all_hidden_states
    shape = (len(doc._.trf_word_pieces), WIDTH)
    assert [state.shape for state in states] == [shape] * (LAYERS + 1)
    np.testing.assert_array_equal(states[-1], doc._.trf_last_hidden_state)


def test_all_attentions_is_a_list_of_arrays(doc: Doc) -> None:
    sizes = doc._.trf_segments[:, 2].tolist()
    assert [each.shape for each in doc._.all_attentions] == [(LAYERS, HEADS, n, n) for n in sizes]
    assert doc._.all_attentions is doc._.trf_all_attentions


def test_trf_d_last_hidden_state_is_the_gradient_of_the_heads(seen: dict[str, Any]) -> None:
    gradient, hidden = seen["trf_d_last_hidden_state"], seen["trf_last_hidden_state"]
    assert gradient.shape == hidden.shape
    assert gradient.any()


def test_trf_d_pooler_output_is_a_gradient(seen: dict[str, Any]) -> None:
    assert seen["trf_d_pooler_output"].shape == seen["trf_pooler_output"].shape


@pytest.mark.parametrize("name", ["trf_d_all_hidden_states", "trf_d_all_attentions"])
def test_gradients_of_lists_are_lists(seen: dict[str, Any], name: str) -> None:
    shapes = [[each.shape for each in seen[key]] for key in (name, GRADIENTS[name])]
    assert shapes[0] == shapes[1]


PIECES = ["trf_alignment", "trf_word_pieces", "trf_word_pieces_"]


@pytest.mark.parametrize("name", [*PIECES, *GRADIENTS.values(), "all_attentions", *GRADIENTS])
def test_attributes_are_on_docs_spans_and_tokens(name: str) -> None:
    assert all(owner.has_extension(name) for owner in (Doc, Span, Token))


def test_a_span_and_a_token_have_their_part_of_the_values(doc: Doc) -> None:
    assert doc[0:2]._.trf_word_pieces_ == ["apple", "shares"]
    np.testing.assert_array_equal(
        doc[0]._.trf_last_hidden_state, doc._.trf_last_hidden_state[doc._.trf_alignment[0]]
    )


# --- Setting up the pipeline ---


def test_the_pipeline_needs_wordpieces_before_vectors(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    tok2vec = TransformersTok2Vec.from_pretrained(nlp.vocab, str(tiny_bert))
    with pytest.raises(PipelineError, match="no wordpieces"):
        tok2vec(nlp(TEXT))


def test_trf_name_says_which_pretrained_model_to_use(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(nlp.create_pipe(name))
    nlp.initialize()
    assert nlp(TEXT)._.trf_word_pieces_[:2] == ["[CLS]", "apple"]


def test_the_spacy_3_way_creates_the_same_pipeline(nlp: Language, tiny_bert: Path) -> None:
    other = spacy.blank("trf")
    other.add_pipe("sentencizer")
    other.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    other.add_pipe("trf_tok2vec", config={"trf_name": str(tiny_bert), **EVERYTHING})
    other.initialize()
    assert other.config == nlp.config
    assert other.meta == nlp.meta
    np.testing.assert_array_equal(other(TEXT).tensor, nlp(TEXT).tensor)


def test_from_pretrained_loads_the_model_of_transformers(nlp: Language, tiny_bert: Path) -> None:
    plain = hf.AutoModel.from_pretrained(tiny_bert)
    assert type(nlp.get_pipe("trf_tok2vec").transformers_model) is type(plain)
    assert same(encoder_weights(nlp), plain.state_dict())
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_bert)
    assert nlp.get_pipe("trf_wordpiecer").tokenizer.get_vocab() == tokenizer.get_vocab()


def test_the_example_of_making_a_model_is_a_command(tiny_bert: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init-model", str(tiny_bert), str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    nlp = spacy.load(tmp_path / "model")
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec"]
    assert nlp.meta["lang"] == "en"


def test_a_model_is_loaded_from_a_path_with_the_old_files(tiny_bert: Path, tmp_path: Path) -> None:
    """The config has no model type, but names its architecture."""
    path = tmp_path / "old"
    path.mkdir()
    torch.save(load_file(tiny_bert / "model.safetensors"), path / "pytorch_model.bin")
    vocab = hf.AutoTokenizer.from_pretrained(tiny_bert).get_vocab()
    (path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)), "utf-8")
    config = json.loads((tiny_bert / "config.json").read_text())
    del config["model_type"]
    (path / "config.json").write_text(json.dumps(config))
    expected = set_up(tiny_bert)(TEXT).tensor
    np.testing.assert_array_equal(set_up(path)(TEXT).tensor, expected)


# --- Tokenization alignment ---


def test_rare_words_have_several_wordpieces(nlp: Language) -> None:
    doc = nlp("I love iPhones")
    assert len(doc[2]._.trf_alignment) > 1
    assert [len(token._.trf_alignment) for token in doc[:2]] == [1, 1]


def test_alignment_may_be_many_to_many(nlp: Language) -> None:
    doc = Doc(nlp.vocab, ["fil", "ms"], spaces=[False, False])
    nlp.get_pipe("trf_wordpiecer")(doc)
    assert doc._.trf_word_pieces_ == ["[CLS]", "film", "##s", "[SEP]"]
    assert doc._.trf_alignment == [[1], [1, 2]]


def test_alignment_lists_consecutive_indices_of_wordpieces(nlp: Language) -> None:
    doc = nlp("Zürich's iPhones reopened. Unbelievable!")
    assert len(doc._.trf_alignment) == len(doc)
    for indices in doc._.trf_alignment:
        assert indices == list(range(indices[0], indices[-1] + 1))
    assert doc._.trf_alignment[-1][-1] < len(doc._.trf_word_pieces_)


def test_the_last_hidden_state_has_a_row_for_each_wordpiece(doc: Doc) -> None:
    assert len(doc._.trf_last_hidden_state) == len(doc._.trf_word_pieces)


def test_doc_tensor_has_a_row_for_each_token(doc: Doc) -> None:
    assert doc.tensor.shape == (len(doc), WIDTH)


def test_doc_tensor_sums_to_the_last_hidden_state(doc: Doc) -> None:
    hidden = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-4)


def test_a_wordpiece_is_shared_equally_by_its_tokens(nlp: Language) -> None:
    doc = Doc(nlp.vocab, ["fil", "ms"], spaces=[False, False])
    for name in ("trf_wordpiecer", "trf_tok2vec"):
        nlp.get_pipe(name)(doc)
    first, film, plural, last = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor[0], film / 2 + (first + last) / 2, atol=1e-5)
    np.testing.assert_allclose(doc.tensor[1], film / 2 + plural + (first + last) / 2, atol=1e-5)


def test_special_tokens_are_shared_by_all_tokens_of_their_sentence(nlp: Language) -> None:
    doc = nlp("I love it. A bore")
    hidden, sizes = doc._.trf_last_hidden_state, doc._.trf_segments[:, 2]
    boundary = hidden[sizes[0]] + hidden[-1]
    assert doc[4].text == "A"
    (index,) = doc[4]._.trf_alignment
    np.testing.assert_allclose(doc.tensor[4], hidden[index] + boundary / 2, atol=1e-5)


# --- Batching, padding and per-sentence processing ---


def test_the_sentencizer_can_be_added_first(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(meta={"lang": "xx"})
    nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert)))
    nlp.add_pipe(nlp.create_pipe("sentencizer"), first=True)
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer"]
    assert nlp(TEXT)._.trf_word_pieces_.count("[CLS]") == 2


def test_sentences_are_encoded_one_by_one_and_put_together_again(nlp: Language) -> None:
    whole = nlp(TEXT)
    parts = [nlp(sentence.text) for sentence in whole.sents]
    assert len(parts) == 2
    for name in ("trf_last_hidden_state", "trf_pooler_output"):
        together = np.concatenate([part._.get(name) for part in parts])
        np.testing.assert_allclose(whole._.get(name), together, atol=1e-5)
    together = np.concatenate([part.tensor for part in parts])
    np.testing.assert_allclose(whole.tensor, together, atol=1e-5)


def sub_batches(nlp: Language, words_per_batch: int) -> list[tuple[int, int]]:
    """Return rows and length of each input of the torch module for TEXTS."""
    shapes = []
    tok2vec = nlp.get_pipe("trf_tok2vec")
    module, encode = tok2vec.transformers_model, tok2vec.transformers_model.forward

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        return encode(input_ids, **inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "forward", forward)
        patch.setitem(tok2vec.model.attrs, "words_per_batch", words_per_batch)
        list(nlp.pipe(TEXTS))
    # Sub-batches may have run in parallel.
    return sorted(shapes, key=itemgetter(1), reverse=True)


def test_sentences_of_similar_length_are_encoded_together(nlp: Language) -> None:
    shapes = sub_batches(nlp, 16)
    lengths = sorted((len(nlp(text)._.trf_word_pieces) for text in TEXTS), reverse=True)
    ends = np.cumsum([rows for rows, _ in shapes])
    # Longest first, whatever the order in the batch.
    assert len(ends) > 1
    assert ends[-1] == len(TEXTS)
    assert [length for _, length in shapes] == [lengths[start] for start in (0, *ends[:-1])]


def test_words_per_batch_limits_a_subbatch_with_its_padding(nlp: Language) -> None:
    shapes = sub_batches(nlp, 16)
    assert any(rows > 1 for rows, _ in shapes)
    assert all(rows * length <= 16 or rows == 1 for rows, length in shapes)


def test_words_per_batch_of_0_disables_subbatching(nlp: Language) -> None:
    ((rows, _),) = sub_batches(nlp, 0)
    assert rows == len(TEXTS)


def test_a_sentence_that_is_too_long_is_truncated_and_has_zero_vectors(nlp: Language) -> None:
    doc = nlp("apple " * 100)
    assert len(doc._.trf_word_pieces) == MAX_LENGTH
    assert doc.tensor[: MAX_LENGTH - 2].any(axis=1).all()
    assert not doc.tensor[MAX_LENGTH - 2 :].any()
