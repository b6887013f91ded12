"""Gradients on the Docs of an update."""

from copy import copy
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from classifiers import DATA, examples, make, multilingual
from encoder_gradients import gradients
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline.encoder.activations import KINDS
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

GRADIENTS = tuple(f"trf_d_{kind}" for kind in KINDS)


class Observer:
    """A component that records the Docs of an update."""

    def __init__(self) -> None:
        self.docs: list[Doc] = []
        self.seen: list[dict[str, Any]] = []

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: Any) -> None:
        self.docs = [eg.predicted for eg in examples]
        # Copies, because heads add to the gradients in place.
        self.seen = [{name: copy(doc._.get(name)) for name in GRADIENTS} for doc in self.docs]


@Language.factory("test_tok2vec_observer")
def make_observer(nlp: Language, name: str) -> Observer:
    return Observer()


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_gradients_are_on_the_doc_only_during_an_update(tiny_bert: Path, lang: str) -> None:
    nlp = make(spacy.blank(lang), tiny_bert, "textcat")
    early = nlp.add_pipe("test_tok2vec_observer", name="early", before="textcat")
    late = nlp.add_pipe("test_tok2vec_observer", name="late")
    nlp.update(examples(nlp), sgd=TransformersOptimizer())
    assert len(early.docs) == len(late.docs) == len(DATA)
    for doc, before, after in zip(late.docs, early.seen, late.seen, strict=True):
        shape = doc._.trf_last_hidden_state.shape
        assert before["trf_d_last_hidden_state"].shape == shape
        assert not before["trf_d_last_hidden_state"].any()
        assert after["trf_d_last_hidden_state"].any()
        assert after["trf_d_pooler_output"].shape == doc._.trf_pooler_output.shape
        assert after["trf_d_all_hidden_states"] is None
        assert after["trf_d_all_attentions"] is None
    nlp.get_pipe("trf_tok2vec").complete_update()
    assert all(doc._.get(name) is None for doc in late.docs for name in GRADIENTS)
    assert all(nlp("I love it.")._.get(name) is None for name in GRADIENTS)


def test_an_update_sets_all_activations_whatever_is_kept(tiny_bert: Path) -> None:
    nlp = make(multilingual(), tiny_bert, "textcat", keep="tensor")
    observer = nlp.add_pipe("test_tok2vec_observer")
    nlp.update(examples(nlp), sgd=TransformersOptimizer())
    for doc, seen in zip(observer.docs, observer.seen, strict=True):
        assert doc._.trf_last_hidden_state.shape == seen["trf_d_last_hidden_state"].shape
        assert doc._.trf_pooler_output.shape == seen["trf_d_pooler_output"].shape


class Adder:
    """A custom head that makes last hidden states grow and pooler outputs shrink."""

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: Any) -> None:
        for eg in examples:
            doc = eg.predicted
            doc._.trf_d_last_hidden_state -= 1.0
            doc._.trf_d_pooler_output = doc._.trf_d_pooler_output + 1.0


@Language.factory("test_tok2vec_adder")
def make_adder(nlp: Language, name: str) -> Adder:
    return Adder()


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_custom_component_can_train_the_encoder(tiny_bert: Path, lang: str) -> None:
    nlp = make(spacy.blank(lang), tiny_bert)
    nlp.add_pipe("test_tok2vec_adder")
    nlp.update(examples(nlp), sgd=False)
    nlp.get_pipe("trf_tok2vec").complete_update()
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    plain = AutoModel.from_pretrained(tiny_bert).eval()
    for text, _ in DATA:
        for sentence in nlp(text).sents:
            output = plain(**tokenizer(sentence.text, return_tensors="pt"))
            (output.pooler_output.sum() - output.last_hidden_state.sum()).backward()
    expected = dict(plain.named_parameters())
    found = gradients(nlp)
    norm = torch.cat([each.grad.flatten() for each in expected.values()]).norm()
    for name, each in found.items():
        assert (each - expected[name].grad).norm() <= 1e-5 * norm, name


def test_a_gradient_added_in_place_is_noticed(trf: Language, steps: list[int]) -> None:
    tok2vec = trf.get_pipe("trf_tok2vec")
    batch = examples(trf)
    trf.get_pipe("trf_wordpiecer").update(batch)
    tok2vec.update(batch)
    batch[0].predicted._.trf_d_last_hidden_state[0] += 1.0
    tok2vec.finish_update(TransformersOptimizer())
    assert len(steps) == 1
