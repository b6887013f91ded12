import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from textcats import make, set_scores

from trfcli_pipeline.data.formats.rows import quoted
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.heads.novelty import Novelty
from trfcli_pipeline.tasks import predictions
from trfcli_pipeline.tasks.prediction_values import shortest
from trfcli_pipeline.tasks.predictions import Batch, Predicted, Predictor

TEXTS = ["Apple pie is delicious!", "", "I hate\n this film"]
BATCH = Batch("data.jsonl", "line", [1, 2, 3], TEXTS)
SCORES = {"A": 0.25, "B": 0.5, "C": 0.25}


def with_cats(nlp: Language, name: str, cats: dict[str, float], **cfg: Any) -> None:
    """Add a text classifier that always predicts the same scores."""
    pipe: Any = nlp.add_pipe(name, **cfg)
    for label in cats:
        pipe.add_label(label)

    def answer(docs: list[Doc], **_: Any) -> Any:
        for doc in docs:
            doc.cats.update(cats)
            yield doc

    # The component's own `pipe` would need weights.
    nlp._components[-1] = (nlp.pipe_names[-1], Replaced(pipe, answer))


class Replaced:
    """Wraps a component and replaces its `pipe`."""

    def __init__(self, component: Any, pipe: Callable[..., Any]) -> None:
        self.component = component
        self.pipe = pipe

    def __getattr__(self, name: str) -> Any:
        return getattr(self.component, name)

    def __call__(self, doc: Doc) -> Doc:
        raise NotImplementedError


def rows_of(nlp: Language, batch: Batch = BATCH) -> list[dict[str, Any]]:
    content = Predictor(nlp)(batch).content
    assert isinstance(content, list)
    # All values are JSON values.
    assert json.loads(json.dumps(content)) == content
    return content


def test_exclusive_classifier_predicts_the_best_label() -> None:
    nlp = spacy.blank("xx")
    with_cats(nlp, "textcat", SCORES)
    predicted = Predictor(nlp)(BATCH)
    assert predicted == Predicted(
        words=9, labels=Counter(B=3), content=[{"cats": SCORES, "labels": ["B"]}] * 3
    )


def test_multi_label_classifier_predicts_labels_by_descending_score() -> None:
    nlp = spacy.blank("xx")
    cats = {"A": 0.5, "B": 0.9, "C": 0.49}
    with_cats(nlp, "textcat_multilabel", cats)
    assert rows_of(nlp)[0]["labels"] == ["B", "A"]
    nlp.remove_pipe("textcat_multilabel")
    with_cats(nlp, "textcat_multilabel", cats, config={"threshold": 0.91})
    assert rows_of(nlp)[0]["labels"] == []


def test_each_classifier_applies_its_own_thresholds(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp()
    with_cats(nlp, "trf_textcat", {"A": 0.6, "B": 0.4})
    nlp.get_pipe("trf_textcat").component.thresholds = {"A": 0.7, "B": 0.3}  # type: ignore[attr-defined]
    with_cats(nlp, "textcat", {"X": 0.2, "Y": 0.8})
    (row,) = rows_of(nlp, Batch("data.jsonl", "line", [1], ["a film"]))
    assert row == {"cats": {"A": 0.6, "B": 0.4, "X": 0.2, "Y": 0.8}, "labels": ["Y", "B"]}


def test_scores_have_the_fewest_digits_for_a_float32() -> None:
    score = float(np.float32(1) / np.float32(3))
    nlp = spacy.blank("xx")
    with_cats(nlp, "textcat", {"A": score, "B": 1e-9})
    cats = rows_of(nlp)[0]["cats"]
    assert json.dumps(cats) == '{"A": 0.33333334, "B": 1e-09}'
    assert np.float32(cats["A"]) == np.float32(score)


def test_entities_and_spans() -> None:
    nlp = spacy.blank("xx")
    ruler: Any = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "ORG", "pattern": "Apple", "id": "apple"}])
    spans: Any = nlp.add_pipe("span_ruler")
    spans.add_patterns([{"label": "DISH", "pattern": "Apple pie"}])
    first, empty, _ = rows_of(nlp)
    assert first == {
        "ents": [{"start": 0, "end": 5, "label": "ORG", "text": "Apple"}],
        "spans": {"ruler": [{"start": 0, "end": 9, "label": "DISH", "text": "Apple pie"}]},
    }
    assert empty == {"ents": [], "spans": {"ruler": []}}


def test_token_attributes() -> None:
    @Language.component("test_grammar", assigns=["token.pos", "token.dep", "token.head"])
    def grammar(doc: Doc) -> Doc:
        for token in doc:
            token.pos_, token.dep_, token.head = "NOUN", "dep", doc[0]
        return doc

    nlp = spacy.blank("xx")
    nlp.add_pipe("test_grammar")
    first, empty, third = rows_of(nlp)
    assert first["tokens"][1] == {"start": 6, "end": 9, "pos": "NOUN", "dep": "dep", "head": 0}
    assert empty == {"tokens": []}
    assert [each["start"] for each in third["tokens"]] == [0, 2, 6, 8, 13]


def test_component_without_declared_assignments() -> None:
    @Language.component("test_undeclared")
    def undeclared(doc: Doc) -> Doc:
        doc.cats["LONG"] = 1.0
        for token in doc:
            token.tag_ = "X"
        return doc

    nlp = spacy.blank("xx")
    nlp.add_pipe("test_undeclared")
    (row,) = rows_of(nlp, Batch("data.jsonl", "line", [1], ["film"]))
    # The label has no threshold, so it can't be predicted.
    assert row == {
        "cats": {"LONG": 1.0},
        "labels": [],
        "tokens": [{"start": 0, "end": 4, "tag": "X"}],
    }


def test_pipeline_without_predictions_is_an_error(nlp: Language) -> None:
    with pytest.raises(PipelineError) as caught:
        Predictor(nlp)
    assert caught.value.message == (
        "The pipeline predicts nothing to write (sentencizer, trf_wordpiecer, trf_tok2vec)"
    )
    assert "trf train-textcat" in str(caught.value.hint)


def test_docs_come_without_user_data_and_tensor(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp()
    with_cats(nlp, "textcat", SCORES)
    content = Predictor(nlp, as_docs=True)(BATCH).content
    assert isinstance(content, bytes)
    docs = list(DocBin().from_bytes(content).get_docs(spacy.blank("xx").vocab))
    assert [doc.text for doc in docs] == TEXTS
    assert [doc.cats for doc in docs] == [SCORES] * 3
    assert not any(doc.user_data or doc.tensor.size for doc in docs)


def test_error_names_the_line_of_the_text() -> None:
    @Language.component("test_failing", assigns=["doc.cats"])
    def failing(doc: Doc) -> Doc:
        raise ZeroDivisionError("by zero\nand more")

    nlp = spacy.blank("xx")
    nlp.add_pipe("test_failing")
    with pytest.raises(PipelineError) as caught:
        Predictor(nlp)(BATCH)
    assert caught.value.message == "data.jsonl, line 1: ZeroDivisionError: by zero"


def test_texts_that_fail_only_together_are_named_together() -> None:
    @Language.component("test_crowded", assigns=["doc.cats"])
    def crowded(doc: Doc) -> Doc:
        crowd.append(doc.text)
        if len(crowd) == len(TEXTS):
            raise ValueError("too many of them")
        return doc

    crowd: list[str] = []
    nlp = spacy.blank("xx")
    nlp.add_pipe("test_crowded")
    with pytest.raises(PipelineError) as caught:
        Predictor(nlp)(BATCH)
    assert caught.value.message == "data.jsonl, lines 1 to 3: too many of them"


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_score_that_is_not_finite_is_an_error(score: float) -> None:
    nlp = spacy.blank("xx")
    with_cats(nlp, "textcat", {"HAM": score, "SPAM": 0.5})
    with pytest.raises(PipelineError) as caught:
        Predictor(nlp)(BATCH)
    reasons = [f"the score of HAM for the text {quoted(text)} is {score}" for text in TEXTS]
    assert caught.value.message == f"data.jsonl, line 1: {reasons[0]}"
    predicted = Predictor(nlp, skip=True)(BATCH)
    assert predicted == (0, Counter(), [], dict(enumerate(reasons)))


def test_heap_is_trimmed_after_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    @Language.component("test_quiet", assigns=["doc.cats"])
    def quiet(doc: Doc) -> Doc:
        return doc

    nlp = spacy.blank("xx")
    nlp.add_pipe("test_quiet")
    trimmed: list[bool] = []
    monkeypatch.setattr(predictions, "trim_heap", lambda: trimmed.append(True))
    predict = Predictor(nlp)
    for _ in range(3):
        predict(BATCH)
    assert len(trimmed) == 3


def test_vocab_stops_growing_in_a_long_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    nlp = spacy.blank("xx")
    with_cats(nlp, "textcat", SCORES)
    predictor = Predictor(nlp)
    predictor(BATCH)
    known = len(nlp.vocab.strings)
    predictor(Batch("data.jsonl", "line", [1], ["new words"]))
    kept = len(nlp.vocab.strings)
    assert kept > known
    monkeypatch.setattr("trfcli_pipeline.pipeline.running._KEPT_WORDS", 0)
    for number in range(3):
        predictor(Batch("data.jsonl", "line", [1], [f"newer{number} word{number}"]))
    assert len(nlp.vocab.strings) == kept


def test_predictor_can_be_pickled(make_nlp: Callable[..., Language]) -> None:
    nlp = make_nlp()
    nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    nlp.get_pipe("trf_textcat").initialize(None, nlp=nlp, labels=["A", "B"])  # type: ignore[attr-defined]
    predictor = Predictor(nlp)
    assert pickle.loads(pickle.dumps(predictor))(BATCH) == predictor(BATCH)


FITTED = FittedAbstention(Abstention(1.0, 0.5, 0.25), Aim(), 500, 0.9, 0.97, 0.95, 1.5)


def fitted(tiny_bert: Path, *, exclusive: bool) -> Language:
    nlp = make(tiny_bert, weights=False, exclusive_classes=exclusive)
    set_scores(nlp, {"FRUIT": 0.4, "DOG": 0.35, "FILM": 0.25})
    textcat: Any = nlp.get_pipe("trf_textcat")
    textcat.fitted_abstention = FITTED
    features = np.ones((1, textcat.model.get_ref("output_layer").get_dim("nI")), "float16")
    textcat.novelty = Novelty(features, 1.0, exclusive)
    return nlp


def test_what_was_fitted_is_written(tiny_bert: Path) -> None:
    nlp = fitted(tiny_bert, exclusive=True)
    for row in rows_of(nlp):
        assert [*row] == ["cats", "labels", "unsure", "label_set", "novelty"]
        assert row["unsure"] is True
        # The probability of FILM is at the threshold but for rounding.
        assert row["label_set"][:2] == ["FRUIT", "DOG"]
        assert row["novelty"] == shortest(row["novelty"])
    textcat: Any = nlp.get_pipe("trf_textcat")
    textcat.fitted_abstention = FITTED._replace(abstention=Abstention(1.0, None, 0.25))
    assert all("unsure" not in row and "label_set" in row for row in rows_of(nlp))
    textcat.forget_fitted()
    assert all([*row] == ["cats", "labels"] for row in rows_of(nlp))


@pytest.mark.parametrize("exclusive", [True, False])
def test_nothing_is_promised_for_other_thresholds(tiny_bert: Path, exclusive: bool) -> None:
    nlp = fitted(tiny_bert, exclusive=exclusive)
    rows: Any = Predictor(nlp, threshold=0.3)(BATCH).content
    # With exclusive labels there is no threshold to change.
    assert all(("unsure" in row) is exclusive for row in rows)
