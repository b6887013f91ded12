"""Pipelines and Docs in other processes, as bytes and as copies."""

import faulthandler
import multiprocessing
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from languages import TEXTS, examples, make_like_spacy_3, predictions
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.tokens.underscore import Underscore

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

# spaCy warns whenever a Doc with hooks is saved; the rows that our hooks use are saved.
hooks_are_not_saved = pytest.mark.filterwarnings(r"ignore:\[W109\]:UserWarning")


@hooks_are_not_saved
def test_several_processes_equal_one(trained: Language) -> None:
    assert multiprocessing.get_start_method() == "fork"
    # A forked process would wait forever for the threads of its parent.
    torch.set_num_threads(2)
    faulthandler.dump_traceback_later(60, exit=True)
    alone = list(trained.pipe(TEXTS * 20))[: len(TEXTS)]
    for one, other in zip(alone, trained.pipe(TEXTS, n_process=2, batch_size=1), strict=True):
        assert one.text == other.text
        assert one.cats == pytest.approx(other.cats, abs=1e-6)
        np.testing.assert_allclose(one.tensor, other.tensor, atol=1e-5)
        assert one._.trf_alignment == other._.trf_alignment
        np.testing.assert_allclose(one._.trf_pooler_output, other._.trf_pooler_output, atol=1e-5)
    faulthandler.cancel_dump_traceback_later()
    torch.set_num_threads(1)


@hooks_are_not_saved
def test_processes_are_spawned_where_forks_can_not_work(
    trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trfcli_pipeline.pipeline.processes.can_fork", lambda: False)
    before = multiprocessing.get_start_method()
    started: list[str] = []
    monkeypatch.setattr(
        "spacy.language.mp.Process", partial(_note_and_start, started, multiprocessing.Process)
    )
    alone = list(trained.pipe(TEXTS))
    faulthandler.dump_traceback_later(120, exit=True)
    docs = list(trained.pipe(TEXTS, n_process=2, batch_size=2))
    faulthandler.cancel_dump_traceback_later()
    assert multiprocessing.get_start_method() == before
    assert started == ["spawn", "spawn"]
    for one, other in zip(alone, docs, strict=True):
        assert one.cats == pytest.approx(other.cats, abs=1e-6)
        np.testing.assert_allclose(one.tensor, other.tensor, atol=1e-5)
        assert one._.trf_alignment == other._.trf_alignment


def _note_and_start(started: list[str], start: Callable[..., Any], **kwargs: Any) -> Any:
    started.append(multiprocessing.get_start_method())
    return start(**kwargs)


def test_attributes_can_be_pickled_for_spawned_processes(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp(all_hidden_states=True)
    doc = nlp("a [SEP] b.")
    state = Underscore.get_state()
    again, state_again = pickle.loads(pickle.dumps((nlp, state)))
    assert again.pipe_names == nlp.pipe_names
    doc_again = again("a [SEP] b.")
    np.testing.assert_array_equal(doc_again.tensor, doc.tensor)
    assert doc_again._.trf_word_pieces_ == doc._.trf_word_pieces_
    assert state_again[0].keys() == state[0].keys()
    try:
        Underscore.load_state(state_again)
        TransformersLanguage.install_extensions()
        assert doc[0]._.trf_word_pieces == doc._.trf_word_pieces[1:2]
    finally:
        Underscore.load_state(state)


def same_activations(one: Doc, other: Doc) -> bool:
    for name in ("trf_last_hidden_state", "trf_pooler_output", "trf_segments"):
        np.testing.assert_array_equal(one._.get(name), other._.get(name))
    assert one._.trf_word_pieces == other._.trf_word_pieces
    assert one._.trf_word_pieces_ == other._.trf_word_pieces_
    assert one._.trf_alignment == other._.trf_alignment
    np.testing.assert_array_equal(one.tensor, other.tensor)
    return one.cats == other.cats


def test_a_pipeline_can_be_pickled_while_a_step_is_pending(tiny_bert: Path) -> None:
    nlp = make_like_spacy_3(str(tiny_bert), spacy.blank("xx"))
    nlp.update(examples(nlp), sgd=TransformersOptimizer())
    again = pickle.loads(pickle.dumps(nlp))
    assert predictions(again) == predictions(nlp)


@hooks_are_not_saved
@pytest.mark.parametrize("text", TEXTS)
def test_a_doc_keeps_its_activations_as_bytes(trained: Language, text: str) -> None:
    doc = trained(text)
    again = Doc(trained.vocab).from_bytes(doc.to_bytes())
    assert same_activations(doc, again)
    # The hooks are lost, but spaCy's defaults use the same rows.
    for token, expected in zip(again, doc, strict=True):
        np.testing.assert_array_equal(token.vector, expected.vector)


@pytest.mark.parametrize("text", TEXTS)
def test_copies_of_a_doc_keep_its_activations(trained: Language, text: str) -> None:
    doc = trained(text)
    for again in (doc.copy(), pickle.loads(pickle.dumps(doc))):
        assert same_activations(doc, again)
        assert again.vector.tolist() == doc.vector.tolist()


def test_a_doc_bin_keeps_activations(trained: Language) -> None:
    docs = list(trained.pipe(TEXTS))
    data = DocBin(store_user_data=True, attrs=["SENT_START"], docs=docs).to_bytes()
    again = list(DocBin(store_user_data=True).from_bytes(data).get_docs(trained.vocab))
    for one, other in zip(docs, again, strict=True):
        # spaCy reads a DocBin's lists as tuples.
        assert one._.trf_word_pieces == list(other._.trf_word_pieces)
        assert one._.trf_alignment == other._.trf_alignment
        np.testing.assert_array_equal(one._.trf_last_hidden_state, other._.trf_last_hidden_state)
        assert len(one._.trf_segments) == len(list(other.sents))
