"""Sentences and wordpieces during training."""

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from wordpieces import wordpieces_only

from trfcli_pipeline import TransformersWordPiecer


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


def test_update_keeps_existing_wordpieces(bert: Language) -> None:
    kept, new = (Example.from_dict(bert.make_doc("I love it."), {}) for _ in range(2))
    kept.predicted._.trf_word_pieces = [2, 3]
    bert.get_pipe("trf_wordpiecer").update([kept, new])
    assert kept.predicted._.trf_word_pieces == [2, 3]
    assert kept.predicted._.trf_segments is None
    assert len(new.predicted._.trf_word_pieces) > 2


def test_update_runs_only_earlier_components_that_set_sentences(tiny_bert: Path) -> None:
    nlp = wordpieces_only(tiny_bert, spacy.blank("en"))
    nlp.add_pipe("entity_ruler", first=True).add_patterns([{"label": "X", "pattern": "it"}])
    eg = Example.from_dict(nlp.make_doc("I love it."), {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    assert eg.predicted.has_annotation("SENT_START")
    assert eg.predicted.ents == ()


def test_update_without_a_pipeline_treats_a_doc_as_one_sentence(tiny_bert: Path) -> None:
    nlp = spacy.blank("en")
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert))
    eg = Example.from_dict(nlp.make_doc("I love it. I hate it."), {})
    wordpiecer.update([eg])
    assert len(eg.predicted._.trf_segments) == 1
