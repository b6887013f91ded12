"""Labels: where they come from, and which are invalid."""

from pathlib import Path

import classifiers
import pytest
import spacy
from textcats import LABELS, make, with_cats
from token_heads import TAGGER

from trfcli_pipeline import TransformersLanguage, TransformersTextCategorizer
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer


def test_labels_come_from_the_examples(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(name)
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    assert not textcat.is_initialized
    nlp.initialize(lambda: with_cats(nlp, {"B": 1.0, "A": 0.0}, {"C": 1.0}))
    assert textcat.is_initialized
    assert textcat.labels == ("B", "A", "C")
    assert nlp("I love it").cats.keys() == {"A", "B", "C"}


def test_a_label_is_added_once(tiny_bert: Path) -> None:
    textcat = TransformersTextCategorizer(spacy.blank("xx").vocab)
    assert textcat.add_label("A") == 1
    assert textcat.add_label("A") == 0
    assert textcat.add_label("B") == 1
    assert textcat.labels == ("A", "B")
    with pytest.raises(ValueError, match="label"):
        textcat.add_label(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("exclusive_classes", "labels"), [(True, ["A"]), (True, []), (False, [])])
def test_too_few_labels_are_an_error(
    tiny_bert: Path, exclusive_classes: bool, labels: list[str]
) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert), meta={"lang": "xx"})
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec"):
        nlp.add_pipe(name)
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": exclusive_classes})
    for label in labels:
        textcat.add_label(label)
    with pytest.raises(DataError, match=f"or more labels, got {len(labels)}"):
        nlp.initialize()


@pytest.mark.parametrize(
    ("fixture", "cats", "message"),
    [
        ("exclusive", {"FRUIT": 1.0, "DOG": 1.0}, "several apply"),
        ("exclusive", {"FRUIT": 0.5, "DOG": 0.5}, "several apply"),
        ("exclusive", {"FRUIT": 0.4, "DOG": 0.35, "FILM": 0.25}, "none applies"),
        ("exclusive", {"FRUIT": 2.0}, "numbers from 0 to 1"),
        ("multilabel", {"FRUIT": -1.0}, "numbers from 0 to 1"),
        ("multilabel", {"FRUIT": float("nan")}, "numbers from 0 to 1"),
    ],
)
def test_invalid_cats_are_an_error(
    request: pytest.FixtureRequest, fixture: str, cats: dict[str, float], message: str
) -> None:
    nlp = request.getfixturevalue(fixture)
    with pytest.raises(DataError, match=message):
        nlp.update(with_cats(nlp, cats), sgd=TransformersOptimizer())


def test_an_unknown_positive_label_is_an_error(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, exclusive_classes=True)
    textcat = nlp.get_pipe("trf_textcat")
    with pytest.raises(PipelineError, match="positive_label names an unknown label: CAT"):
        textcat.initialize(None, nlp=nlp, positive_label="CAT")
    with pytest.raises(PipelineError, match="needs the pipeline"):
        textcat.initialize(None)


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_trained_classifier_takes_no_more_labels(
    tiny_bert: Path, tmp_path: Path, is_loaded: bool
) -> None:
    """spaCy's own error, as from every component that can't be resized."""
    nlp = make(tiny_bert)
    if is_loaded:
        nlp.to_disk(tmp_path)
        nlp = spacy.load(tmp_path)
    textcat = nlp.get_pipe("trf_textcat")
    with pytest.raises(ValueError, match=r"\[E922\] .*'trf_textcat' .*output dimension of 3"):
        textcat.add_label("CAT")
    with pytest.raises(ValueError, match="E922"):
        nlp.initialize(lambda: with_cats(nlp, {"CAT": 1.0}))
    assert textcat.labels == LABELS
    assert textcat.add_label("DOG") == 0


def test_initializing_again_starts_anew(tiny_bert: Path) -> None:
    nlp = make(tiny_bert)
    textcat = nlp.get_pipe("trf_textcat")
    textcat.thresholds = {"DOG": 0.1}
    nlp.initialize()
    assert textcat.thresholds == {}
    assert not textcat.model.get_ref("output_layer").get_param("W").any()


@pytest.mark.parametrize("lang", ["trf", "xx"])
def test_rehearsal_is_an_error_that_says_what_to_do(tiny_bert: Path, lang: str) -> None:
    nlp = classifiers.make(spacy.blank(lang), tiny_bert, "textcat")
    nlp.resume_training()
    with pytest.raises(PipelineError, match="textcat: can't be rehearsed") as caught:
        nlp.rehearse(classifiers.examples(nlp))
    assert "nlp.update" in str(caught.value)
    assert nlp.rehearse(classifiers.examples(nlp), exclude=["textcat"]) == {}


def test_rehearsal_of_spacys_own_components_is_an_error(tiny_bert: Path) -> None:
    nlp = classifiers.make(spacy.blank("xx"), tiny_bert)
    nlp.add_pipe("tagger", config=TAGGER).add_label("X")
    with pytest.raises(PipelineError, match="tagger: can't be rehearsed"):
        nlp.get_pipe("trf_tok2vec").rehearse(classifiers.examples(nlp))


def test_a_new_classifier_in_a_plain_language_needs_initialize(tiny_bert: Path) -> None:
    nlp = classifiers.make(spacy.blank("xx"), tiny_bert)
    textcat = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("GOOD", "BAD"):
        textcat.add_label(label)
    nlp.resume_training()
    for use in (lambda: nlp.update(classifiers.examples(nlp)), lambda: nlp("I love it")):
        # spaCy's own error.
        with pytest.raises(ValueError, match=r"\[E109\].*initialize"):
            use()
    textcat.initialize(lambda: classifiers.examples(nlp), nlp=nlp)
    nlp.update(classifiers.examples(nlp))
    assert nlp("I love it").cats.keys() == {"GOOD", "BAD"}
