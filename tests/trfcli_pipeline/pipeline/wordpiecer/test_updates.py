"""Sentences and wordpieces during training."""

import copy
import gc
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from wordpieces import wordpieces_only

from trfcli_pipeline import TransformersWordPiecer

TEXT = "I love it. I hate it."


@pytest.mark.parametrize("lang", ["trf", "en"])
def test_update_sets_sentences_and_wordpieces(tiny_bert: Path, lang: str) -> None:
    nlp = wordpieces_only(tiny_bert, spacy.blank(lang))
    text = "I love it. I hate it."
    eg = Example.from_dict(nlp.make_doc(text), {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    expected = nlp(text)
    assert [sent.text for sent in eg.predicted.sents] == ["I love it.", "I hate it."]
    assert eg.predicted._.trf_word_pieces == expected._.trf_word_pieces
    assert eg.predicted._.trf_alignment == expected._.trf_alignment
    assert eg.reference._.trf_word_pieces is None


def test_update_keeps_existing_sentences(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer", config={"overwrite": True})
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    nlp.initialize()
    doc = nlp.make_doc("I love it. I hate it.")
    for token in doc:
        token.is_sent_start = token.i in (0, 2)
    eg = Example.from_dict(doc, {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    assert [sent.start for sent in eg.predicted.sents] == [0, 2]
    assert len(eg.predicted._.trf_segments) == 2


def test_update_keeps_the_wordpieces_that_it_would_find(
    bert: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    wordpiecer = bert.get_pipe("trf_wordpiecer")
    docs = [*bert.pipe(["I love it. I hate it.", "", " "]), bert.make_doc("I love it.")]
    found: list[Doc] = []
    monkeypatch.setattr(wordpiecer, "predict", lambda docs: found.extend(docs) or [])
    monkeypatch.setattr(wordpiecer, "set_annotations", lambda docs, outputs: None)
    wordpiecer.update([Example(doc, doc) for doc in docs])
    assert found == docs[3:]


def other_tokenizer(nlp: Language, tiny_gpt2: Path) -> Doc:
    return wordpieces_only(tiny_gpt2, spacy.blank("xx"))(TEXT)


def other_settings(nlp: Language, tiny_gpt2: Path) -> Doc:
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    other = TransformersWordPiecer(nlp.vocab, segments="doc").from_bytes(wordpiecer.to_bytes())
    return other(nlp.get_pipe("sentencizer")(nlp.make_doc(TEXT)))


def no_sentences(nlp: Language, tiny_gpt2: Path) -> Doc:
    return nlp.get_pipe("trf_wordpiecer")(nlp.make_doc(TEXT))


def other_sentences(nlp: Language, tiny_gpt2: Path) -> Doc:
    doc = nlp(TEXT)
    doc.user_data["before"] = doc._.trf_segments.tolist()
    for token in doc:
        token.is_sent_start = token.i in (0, 2)
    return doc


def unknown_origin(nlp: Language, tiny_gpt2: Path) -> Doc:
    doc = nlp.make_doc(TEXT)
    doc._.trf_word_pieces, doc._.trf_segments = [999], np.array([[0, 1, 1]], dtype=np.int32)
    return doc


@pytest.mark.parametrize(
    "process", [other_tokenizer, other_settings, no_sentences, other_sentences, unknown_origin]
)
def test_update_replaces_other_wordpieces(
    bert: Language, tiny_gpt2: Path, process: Callable[[Language, Path], Doc]
) -> None:
    doc = process(bert, tiny_gpt2)
    eg = Example(doc, bert.make_doc(TEXT))
    bert.get_pipe("trf_wordpiecer").update([eg])
    (expected,) = bert.get_pipe("trf_wordpiecer").predict([doc])
    assert doc._.trf_word_pieces == expected.ids
    assert doc._.trf_segments.tolist() == expected.segments.tolist()
    assert len(list(doc.sents)) == len(expected.segments) == 2


def test_a_copied_tokenizer_finds_the_same_wordpieces(tiny_bert: Path) -> None:
    wordpiecer = wordpieces_only(tiny_bert, spacy.blank("xx")).get_pipe("trf_wordpiecer")
    other = TransformersWordPiecer(wordpiecer.vocab).from_bytes(wordpiecer.to_bytes())
    again = pickle.loads(pickle.dumps(wordpiecer))
    assert other.fingerprint == again.fingerprint == wordpiecer.fingerprint


def test_update_runs_only_earlier_components_that_set_sentences(tiny_bert: Path) -> None:
    nlp = wordpieces_only(tiny_bert, spacy.blank("xx"))
    nlp.add_pipe("entity_ruler", first=True).add_patterns([{"label": "X", "pattern": "it"}])
    eg = Example.from_dict(nlp.make_doc("I love it."), {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    assert eg.predicted.has_annotation("SENT_START")
    assert eg.predicted.ents == ()


def test_update_without_a_pipeline_treats_a_doc_as_one_sentence(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert))
    short, eg, other = (Example.from_dict(nlp.make_doc(text), {}) for text in ("a", TEXT, TEXT))
    wordpiecer.update([short])
    with pytest.warns(UserWarning, match="no sentence boundaries"):
        wordpiecer.update([eg])
    assert len(eg.predicted._.trf_segments) == 1
    # The warning comes once.
    wordpiecer.update([other])
    assert len(other.predicted._.trf_segments) == 1


def test_update_in_a_pipeline_without_sentences_needs_no_warning(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    nlp.initialize()
    assert segments_in_training(nlp) == [[0, 8, 10]]


class Observer:
    """Records the Docs of an update."""

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def update(self, examples: list[Example], **_: object) -> None:
        self.docs = [eg.predicted for eg in examples]


@Language.factory("test_wordpiecer_observer")
def make_observer(nlp: Language, name: str) -> Observer:
    return Observer()


@Language.component("test_undeclared_sentences")
def set_sentences(doc: Doc) -> Doc:
    for token in doc:
        token.is_sent_start = token.i in (0, 3)
    return doc


@Language.component("test_tags", assigns=["token.tag"])
def set_tags(doc: Doc) -> Doc:
    for token in doc:
        token.tag_ = "." if token.text == "." else "X"
    return doc


@Language.component("test_sentences_by_tags", assigns=["token.is_sent_start"])
def set_sentences_by_tags(doc: Doc) -> Doc:
    for token in doc:
        token.is_sent_start = token.i == 0 or doc[token.i - 1].tag_ == "."
    return doc


@Language.component("test_merging", assigns=["token.lemma"], retokenizes=True)
def merge_first(doc: Doc) -> Doc:
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[:2])
    return doc


def segments_in_training(nlp: Language) -> list[list[int]]:
    """Return the segments that an update sees, after checking that a prediction sees the same."""
    observer = nlp.add_pipe("test_wordpiecer_observer")
    nlp.update([Example.from_dict(nlp.make_doc(TEXT), {})])
    nlp.remove_pipe("test_wordpiecer_observer")
    (doc,) = observer.docs
    assert doc._.trf_word_pieces == nlp(TEXT)._.trf_word_pieces
    assert doc._.trf_segments[:, 2].tolist() == nlp(TEXT)._.trf_segments[:, 2].tolist()
    return doc._.trf_segments.tolist()


TWO_SENTENCES = [[0, 4, 6], [4, 8, 6]]


@pytest.mark.parametrize("keep_source", [True, False])
@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_sourced_component_trains_on_the_sentences_of_its_pipeline(
    tiny_bert: Path, lang: str, keep_source: bool
) -> None:
    source = wordpieces_only(tiny_bert, spacy.blank(lang))
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer", config={"punct_chars": ["love"]})
    nlp.add_pipe("trf_wordpiecer", source=source, name="renamed")
    if not keep_source:
        del source
        gc.collect()
    assert segments_in_training(nlp) == [[0, 2, 4], [2, 8, 8]]
    if keep_source:
        assert segments_in_training(source) == TWO_SENTENCES


def rename(nlp: Language) -> Language:
    nlp.rename_pipe("trf_wordpiecer", "pieces")
    return nlp


def unpickle(nlp: Language) -> Language:
    return pickle.loads(pickle.dumps(nlp))


@pytest.mark.parametrize("change", [rename, unpickle, copy.deepcopy])
@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_a_changed_pipeline_trains_on_its_sentences(
    tiny_bert: Path, lang: str, change: Callable[[Language], Language]
) -> None:
    nlp = change(wordpieces_only(tiny_bert, spacy.blank(lang)))
    gc.collect()
    assert segments_in_training(nlp) == TWO_SENTENCES


@pytest.mark.parametrize(
    ("setters", "expected"),
    [
        (["test_undeclared_sentences"], [[0, 3, 5], [3, 8, 7]]),
        (["test_tags", "test_sentences_by_tags"], TWO_SENTENCES),
        (["sentencizer", "test_tags"], TWO_SENTENCES),
        (["test_merging", "sentencizer"], TWO_SENTENCES),
        (["test_tags"], [[0, 8, 10]]),
    ],
)
def test_all_components_that_set_sentences_count(
    tiny_bert: Path, setters: list[str], expected: list[list[int]]
) -> None:
    nlp = spacy.blank("xx")
    for each in setters:
        nlp.add_pipe(each)
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    nlp.initialize()
    assert segments_in_training(nlp) == expected
