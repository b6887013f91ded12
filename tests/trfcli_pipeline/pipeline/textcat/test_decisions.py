"""The labels that apply, by the stored thresholds: of the component, and on Docs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from textcats import LABELS, TEXTS, make, set_scores

from trfcli_pipeline.tokenization.extensions import install_extensions

# The scores of every text in `tuned`; the threshold of FILM is the common one, 0.4.
SCORES = {"FRUIT": 0.6, "DOG": 0.3, "FILM": 0.5}


@pytest.fixture
def tuned(tiny_bert: Path) -> Language:
    nlp = make(tiny_bert, weights=False, exclusive_classes=False, threshold=0.4)
    set_scores(nlp, SCORES)
    nlp.get_pipe("trf_textcat").thresholds = {"FRUIT": 0.7, "DOG": 0.2}
    return nlp


def test_labels_that_reach_their_thresholds(tuned: Language) -> None:
    doc = tuned(TEXTS[0])
    assert doc.cats == pytest.approx(SCORES)
    assert doc._.trf_labels == ["FILM", "DOG"]
    assert tuned.get_pipe("trf_textcat").predicted_labels(doc.cats) == ["FILM", "DOG"]
    assert tuned("")._.trf_labels == ["FILM", "DOG"]
    # The labels follow the scores.
    doc.cats |= {"FRUIT": 0.7, "DOG": 0.1}
    assert doc._.trf_labels == ["FRUIT", "FILM"]
    doc.cats = {"ANOTHER": 1.0}
    assert doc._.trf_labels == []


def test_no_label_applies(tuned: Language) -> None:
    tuned.get_pipe("trf_textcat").thresholds = dict.fromkeys(LABELS, 0.9)
    assert tuned(TEXTS[0])._.trf_labels == []


def test_exclusive_classes_have_one_label(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=True)
    set_scores(nlp, {"FRUIT": 0.3, "DOG": 0.4, "FILM": 0.3})
    assert nlp(TEXTS[0])._.trf_labels == ["DOG"]
    assert nlp.get_pipe("trf_textcat").predicted_labels({"DOG": 0.1, "FILM": 0.2}) == ["FILM"]


def to_bytes(nlp: Language, doc: Doc) -> Doc:
    return Doc(nlp.vocab).from_bytes(doc.to_bytes())


def in_docbin(nlp: Language, doc: Doc) -> Doc:
    saved = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return next(iter(DocBin().from_bytes(saved).get_docs(nlp.vocab)))


def from_processes(nlp: Language, doc: Doc) -> Doc:
    return next(iter(nlp.pipe([doc.text] * 2, n_process=2, batch_size=1)))


def copied(nlp: Language, doc: Doc) -> Doc:
    return doc.copy()


def processed_twice(nlp: Language, doc: Doc) -> Doc:
    return nlp(doc)


# The hooks of vectors.
@pytest.mark.filterwarnings(r"ignore:\[W109\]")
@pytest.mark.parametrize("send", [to_bytes, in_docbin, from_processes, copied, processed_twice])
def test_docs_keep_what_the_decision_needs(
    tuned: Language, send: Callable[[Language, Doc], Doc]
) -> None:
    doc = tuned(TEXTS[0])
    again = send(tuned, doc)
    assert again._.trf_labels == ["FILM", "DOG"]
    # The same classifier isn't stored twice.
    assert len(tuned(again)._.trf_classifiers) == 1


def test_several_classifiers_one_of_them_renamed(tuned: Language) -> None:
    # After the renaming, both components are called trf_textcat by themselves.
    tuned.rename_pipe("trf_textcat", "topics")
    mood: Any = tuned.add_pipe("trf_textcat", config={"exclusive_classes": True})
    mood.initialize(None, nlp=tuned, labels=["GOOD", "BAD"])
    set_scores(tuned, {"GOOD": 0.2, "BAD": 0.8})
    doc = tuned(TEXTS[0])
    assert doc._.trf_labels == ["BAD", "FILM", "DOG"]
    assert mood.predicted_labels(doc.cats) == ["BAD"]
    with tuned.select_pipes(disable="topics"):
        assert tuned(TEXTS[0])._.trf_labels == ["BAD"]


def test_plain_pipeline_decides_too(tuned: Language, tmp_path: Path) -> None:
    tuned.to_disk(tmp_path)
    nlp = spacy.blank("xx")
    for name in tuned.pipe_names:
        nlp.add_pipe(name, source=spacy.load(tmp_path))
    assert nlp(TEXTS[0])._.trf_labels == ["FILM", "DOG"]


@pytest.mark.parametrize("cats", [{}, {"FILM": 1.0}])
def test_docs_without_a_classifier_have_no_labels(cats: dict[str, float]) -> None:
    doc = spacy.blank("xx")("I love this film")
    doc.cats = cats
    assert doc._.trf_labels == []


def test_registering_again_changes_nothing() -> None:
    getter = Doc.get_extension("trf_labels")
    Doc.set_extension("trf_labels", getter=getter[2], force=True)
    install_extensions()
    assert Doc.get_extension("trf_labels") == getter
