"""The last part of that README: components and activations."""

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import spacy
import transformers as hf
from old_readme_pipelines import LAYERS, TEXT, TEXTS, WIDTH, add_textcat
from spacy.language import Language
from spacy.pipeline import TextCategorizer
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from trfcli_pipeline import (
    Activations,
    TransformersLanguage,
    TransformersTextCategorizer,
    TransformersTok2Vec,
    TransformersWordPiecer,
)
from trfcli_pipeline.errors import PipelineError


@pytest.fixture
def docs(nlp: Language) -> list[Doc]:
    """Docs with wordpieces, not encoded yet."""
    with nlp.select_pipes(disable=["trf_tok2vec"]):
        return list(nlp.pipe(TEXTS))


# --- TransformersWordPiecer ---


def test_the_wordpiecer_does_not_change_tokens(doc: Doc) -> None:
    assert [token.text for token in doc] == [token.text for token in spacy.blank("en")(TEXT)]


def test_the_wordpiecer_sets_three_attributes(nlp: Language) -> None:
    with nlp.select_pipes(disable=["trf_tok2vec"]):
        doc = nlp(TEXT)
    assert doc._.trf_word_pieces
    assert doc._.trf_word_pieces_
    assert doc._.trf_alignment
    assert not doc.tensor.size


def test_the_wordpiecer_is_created_by_name(nlp: Language, tiny_bert: Path) -> None:
    wordpiecer = nlp.create_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    assert isinstance(wordpiecer, TransformersWordPiecer)
    assert wordpiecer.cfg["trf_name"] == str(tiny_bert)


def test_wordpiecer_from_nlp(nlp: Language) -> None:
    wordpiecer = TransformersWordPiecer.from_nlp(nlp, trf_name="other", max_length=10)
    assert isinstance(wordpiecer, TransformersWordPiecer)
    assert wordpiecer.cfg.items() >= {"trf_name": "other", "max_length": 10}.items()


def test_wordpiecer_init(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer(Vocab(), str(tiny_bert), max_length=10)
    assert wordpiecer.cfg.items() >= {"trf_name": str(tiny_bert), "max_length": 10}.items()


def test_wordpiecer_predict_returns_the_strings_of_each_doc(nlp: Language) -> None:
    docs = [nlp.make_doc(text) for text in TEXTS]
    outputs = nlp.get_pipe("trf_wordpiecer").predict(docs)
    assert [each.strings for each in outputs] == [nlp(text)._.trf_word_pieces_ for text in TEXTS]
    assert all(doc._.trf_word_pieces_ is None for doc in docs)


def test_wordpiecer_set_annotations_assigns_strings_and_ids(nlp: Language) -> None:
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    docs = [nlp.make_doc(text) for text in TEXTS]
    outputs = wordpiecer.predict(docs)
    wordpiecer.set_annotations(docs, outputs)
    assert [doc._.trf_word_pieces for doc in docs] == [each.ids for each in outputs]
    assert [doc._.trf_word_pieces_ for doc in docs] == [each.strings for each in outputs]


# --- TransformersTok2Vec ---


def test_a_token_of_several_wordpieces_has_the_sum_of_their_rows(nlp: Language) -> None:
    doc = nlp("iPhones")
    hidden = doc._.trf_last_hidden_state
    assert len(doc) == 1
    assert len(doc._.trf_alignment[0]) > 1
    np.testing.assert_allclose(doc.tensor[0], hidden.sum(axis=0), atol=1e-4)


def test_the_token_vector_encoder_is_created_by_name(nlp: Language) -> None:
    tok2vec = nlp.create_pipe("trf_tok2vec", config={"trf_name": "other"})
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.cfg["trf_name"] == "other"


def test_words_per_batch_depends_on_the_device_unless_set(nlp: Language) -> None:
    assert nlp.create_pipe("trf_tok2vec").model.attrs["words_per_batch"] is None
    tok2vec = nlp.create_pipe("trf_tok2vec", config={"words_per_batch": 100})
    assert tok2vec.model.attrs["words_per_batch"] == 100


def test_tok2vec_from_nlp(nlp: Language) -> None:
    tok2vec = TransformersTok2Vec.from_nlp(nlp, words_per_batch=100)
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.cfg["words_per_batch"] == 100
    assert tok2vec.vocab is nlp.vocab


def test_tok2vec_from_pretrained_needs_no_pipeline(tiny_bert: Path) -> None:
    tok2vec = TransformersTok2Vec.from_pretrained(Vocab(), str(tiny_bert), words_per_batch=100)
    assert isinstance(tok2vec, TransformersTok2Vec)
    assert tok2vec.token_vector_width == WIDTH
    assert tok2vec.cfg["words_per_batch"] == 100


def test_tok2vec_model_is_a_thinc_model_around_the_encoder(tiny_bert: Path) -> None:
    model = TransformersTok2Vec.Model(str(tiny_bert), words_per_batch=100)
    assert isinstance(model, Model)
    assert isinstance(model.shim.module, hf.BertModel)
    assert model.attrs["words_per_batch"] == 100


def test_tok2vec_init_takes_a_model_or_true(tiny_bert: Path) -> None:
    model = TransformersTok2Vec.Model(str(tiny_bert))
    assert TransformersTok2Vec(Vocab(), model).model is model
    tok2vec = TransformersTok2Vec(Vocab(), True, trf_name=str(tiny_bert))
    assert not tok2vec.model.shim.is_loaded
    tok2vec.initialize(list)
    assert tok2vec.model.shim.is_loaded


def test_tok2vec_call_returns_the_doc_with_its_features(nlp: Language, docs: list[Doc]) -> None:
    assert nlp.get_pipe("trf_tok2vec")(docs[1]) is docs[1]
    assert docs[1].tensor.shape == (len(docs[1]), WIDTH)
    assert docs[1]._.trf_last_hidden_state is not None


def test_tok2vec_pipe_yields_docs_in_order(nlp: Language, docs: list[Doc]) -> None:
    tok2vec = nlp.get_pipe("trf_tok2vec")
    assert inspect.signature(tok2vec.pipe).parameters["batch_size"].default == 128
    found = list(tok2vec.pipe(iter(docs), batch_size=2))
    assert [one is other for one, other in zip(found, docs, strict=True)] == [True] * len(docs)
    assert all(doc.tensor.shape == (len(doc), WIDTH) for doc in docs)


def test_tok2vec_predict_names_its_outputs(nlp: Language, docs: list[Doc]) -> None:
    outputs = nlp.get_pipe("trf_tok2vec").predict(docs)
    assert len(outputs.last_hidden_state) == sum(len(doc._.trf_word_pieces) for doc in docs)
    assert len(outputs.pooler_output) == len(docs)
    assert not any(doc.tensor.size for doc in docs)


def test_tok2vec_set_annotations_assigns_features_and_hooks(nlp: Language, docs: list[Doc]) -> None:
    tok2vec = nlp.get_pipe("trf_tok2vec")
    tok2vec.set_annotations(docs, tok2vec.predict(docs))
    for doc in docs:
        assert len(doc._.trf_last_hidden_state) == len(doc._.trf_word_pieces)
        for hooks in (doc.user_hooks, doc.user_span_hooks, doc.user_token_hooks):
            assert {"vector", "similarity"} <= hooks.keys()


# --- TransformersTextCategorizer ---


def test_trf_textcat_is_a_subclass_of_spacys_text_categorizer() -> None:
    assert issubclass(TransformersTextCategorizer, TextCategorizer)


def test_trf_textcat_needs_the_token_vector_encoder() -> None:
    nlp = add_textcat(TransformersLanguage(meta={"lang": "xx"}))
    with pytest.raises(PipelineError, match="no trf_tok2vec"):
        nlp.resume_training()


def test_the_text_categorizer_is_created_by_name(nlp: Language) -> None:
    textcat = nlp.create_pipe("trf_textcat")
    assert isinstance(textcat, TransformersTextCategorizer)
    assert not textcat.exclusive_classes
    assert textcat.cfg["architecture"] == "softmax_last_hidden"


def test_textcat_from_nlp(nlp: Language) -> None:
    textcat = TransformersTextCategorizer.from_nlp(nlp, exclusive_classes=True)
    assert isinstance(textcat, TransformersTextCategorizer)
    assert textcat.exclusive_classes
    assert textcat.vocab is nlp.vocab


@pytest.mark.parametrize("exclusive", [None, False, True])
def test_textcat_model_takes_classes_and_width(doc: Doc, exclusive: bool | None) -> None:
    options = {} if exclusive is None else {"exclusive_classes": exclusive}
    model = TransformersTextCategorizer.Model(3, WIDTH, **options)
    assert isinstance(model, Model)
    chance = 1 / 3 if exclusive else 1 / 2
    np.testing.assert_allclose(model.predict([doc]), [[chance] * 3], rtol=1e-5)


# --- Activations ---


def test_activations_is_a_dataclass_with_these_attributes() -> None:
    assert is_dataclass(Activations)
    names = [each.name for each in fields(Activations)]
    assert set(names) >= {
        "last_hidden_state",
        "pooler_output",
        "all_hidden_states",
        "all_attentions",
        "is_grad",
    }


def test_activations_are_what_the_encoder_predicts(nlp: Language, docs: list[Doc]) -> None:
    outputs = nlp.get_pipe("trf_tok2vec").predict(docs)
    assert isinstance(outputs, Activations)
    assert not outputs.is_grad
    assert len(outputs.all_hidden_states) == LAYERS + 1
    assert len(outputs.all_attentions) == len(docs)
