"""When a classifier is unsure, and what it saves for that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from textcats import LABELS, TEXTS, make, one_hot, set_scores, with_cats

from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.heads.novelty import Novelty

FITTED = FittedAbstention(Abstention(1.0, 0.7, 0.25), Aim(), 500, 0.9, 0.97, 0.95, 1.5)
SURE = {"FRUIT": 0.8, "DOG": 0.15, "FILM": 0.05}
UNSURE = {"FRUIT": 0.6, "DOG": 0.3, "FILM": 0.1}


def fit(nlp: Language) -> Any:
    """Give the classifier of a pipeline what `trf train` fits."""
    textcat: Any = nlp.get_pipe("trf_textcat")
    textcat.fitted_abstention = FITTED
    docs = [doc for doc in nlp.pipe(TEXTS) if len(doc)]
    features = textcat.model.get_ref("features").predict(docs)
    textcat.novelty = Novelty(features.astype("float16"), 1.0, textcat.exclusive_classes)
    return textcat


@pytest.fixture
def fitted(tiny_bert: Path) -> Language:
    nlp = make(tiny_bert, weights=False, exclusive_classes=True)
    set_scores(nlp, UNSURE)
    fit(nlp)
    return nlp


def facts(doc: Doc) -> tuple[Any, ...]:
    return doc._.trf_unsure, doc._.trf_label_set, doc._.trf_novelty


def test_unsure_and_sure(fitted: Language) -> None:
    doc = fitted(TEXTS[0])
    assert doc._.trf_unsure is True
    assert doc._.trf_label_set == ["FRUIT", "DOG"]
    assert doc._.trf_labels == ["FRUIT"]
    assert isinstance(doc._.trf_novelty, float)
    set_scores(fitted, SURE)
    doc = fitted(TEXTS[0])
    assert doc._.trf_unsure is False
    assert doc._.trf_label_set == ["FRUIT"]
    # They follow the scores.
    doc.cats = UNSURE
    assert doc._.trf_unsure is True


def test_scores_stay_as_they_are(fitted: Language) -> None:
    cats = fitted(TEXTS[0]).cats
    textcat: Any = fitted.get_pipe("trf_textcat")
    textcat.fitted_abstention = FITTED._replace(abstention=Abstention(3.0, 0.7, 0.25))
    assert fitted(TEXTS[0]).cats == cats
    textcat.forget_fitted()
    doc = fitted(TEXTS[0])
    assert doc.cats == cats
    assert facts(doc) == (None, None, None)


def test_several_labels_per_text(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=False)
    set_scores(nlp, {"FRUIT": 0.95, "DOG": 0.3, "FILM": 0.1})
    fit(nlp)
    doc = nlp(TEXTS[0])
    # The probability that all three decisions are right is 0.95 * 0.7 * 0.9.
    assert doc._.trf_unsure is True
    assert doc._.trf_label_set == ["FRUIT", "DOG"]
    doc.cats = {"FRUIT": 0.95, "DOG": 0.1, "FILM": 0.1}
    assert doc._.trf_unsure is False


def to_bytes(nlp: Language, doc: Doc) -> Doc:
    return Doc(nlp.vocab).from_bytes(doc.to_bytes())


def in_docbin(nlp: Language, doc: Doc) -> Doc:
    saved = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return next(iter(DocBin().from_bytes(saved).get_docs(nlp.vocab)))


def from_processes(nlp: Language, doc: Doc) -> Doc:
    return next(iter(nlp.pipe([doc.text] * 2, n_process=2, batch_size=1)))


# The hooks of vectors.
@pytest.mark.filterwarnings(r"ignore:\[W109\]")
@pytest.mark.parametrize("send", [to_bytes, in_docbin, from_processes])
def test_docs_keep_what_was_found(fitted: Language, send: Callable[..., Doc]) -> None:
    doc = fitted(TEXTS[0])
    found = facts(send(fitted, doc))
    assert found[:2] == (True, ["FRUIT", "DOG"])
    assert found[2] == pytest.approx(doc._.trf_novelty, abs=1e-5)


def test_saved_with_the_pipeline(fitted: Language, tmp_path: Path) -> None:
    fitted.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert facts(loaded(TEXTS[0])) == facts(fitted(TEXTS[0]))
    again = spacy.load(tmp_path).from_bytes(fitted.to_bytes())
    assert facts(again(TEXTS[0])) == facts(fitted(TEXTS[0]))
    # A later save without them leaves nothing behind.
    textcat: Any = loaded.get_pipe("trf_textcat")
    textcat.forget_fitted()
    loaded.to_disk(tmp_path)
    assert facts(spacy.load(tmp_path)(TEXTS[0])) == (None, None, None)


def test_loading_replaces_what_was_fitted(fitted: Language, tiny_bert: Path) -> None:
    plain = make(tiny_bert, weights=False, exclusive_classes=True)
    component: Any = plain.get_pipe("trf_textcat")
    fitted.get_pipe("trf_textcat").from_bytes(component.to_bytes())
    assert facts(fitted(TEXTS[0])) == (None, None, None)


def test_bytes_of_an_earlier_version(fitted: Language, tiny_bert: Path) -> None:
    class Earlier(spacy.pipeline.TextCategorizer):
        pass

    plain: Any = make(tiny_bert, weights=False, exclusive_classes=True).get_pipe("trf_textcat")
    earlier = Earlier.to_bytes(plain)
    textcat: Any = fitted.get_pipe("trf_textcat")
    textcat.from_bytes(earlier)
    assert textcat.novelty is None


def test_dropped_when_weights_change(fitted: Language) -> None:
    textcat: Any = fitted.get_pipe("trf_textcat")
    fitted.update(with_cats(fitted, one_hot(0), one_hot(1)))
    assert (textcat.fitted_abstention, textcat.novelty) == (None, None)
    fit(fitted)
    textcat.initialize(None, nlp=fitted, labels=LABELS)
    assert (textcat.fitted_abstention, textcat.novelty) == (None, None)


def test_dropped_when_thresholds_change(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, weights=False, exclusive_classes=False)
    textcat = fit(nlp)
    textcat.thresholds = {}
    assert textcat.fitted_abstention == FITTED
    textcat.thresholds = {"DOG": 0.3}
    assert textcat.fitted_abstention is None


@pytest.mark.parametrize(("labels", "kept"), [(LABELS[::-1], True), ((*LABELS, "CAT"), False)])
def test_taken_over_with_the_same_labels(
    fitted: Language, tiny_bert: Path, labels: tuple[str, ...], kept: bool
) -> None:
    other: Any = make(tiny_bert, *labels, exclusive_classes=True).get_pipe("trf_textcat")
    other.initialize_from_classifier(fitted.get_pipe("trf_textcat"))
    assert (other.fitted_abstention == FITTED) is kept
    assert (other.novelty is not None) is kept


def test_novelty_is_that_of_what_the_classifier_reads(fitted: Language) -> None:
    textcat: Any = fitted.get_pipe("trf_textcat")
    doc = fitted(TEXTS[0])
    features = textcat.model.get_ref("features").predict([doc])
    scores = np.array([[doc.cats[label] for label in textcat.labels]])
    # Opposite to all labeled texts.
    opposite = -features / np.linalg.norm(features)
    textcat.novelty = Novelty(opposite.astype("float16"), 0.5, exclusive=True)
    doc = fitted(TEXTS[0])
    (expected,) = textcat.novelty.score(features, scores)
    assert doc._.trf_novelty == pytest.approx(expected, rel=1e-4)
    # The distance is 2, and the probability is 0.6.
    assert expected == pytest.approx(2 * (0.4 + 0.5) / 0.5, rel=1e-3)
