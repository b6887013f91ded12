import math
from typing import Any

import pytest
import spacy
from keyword_classifier import RECORDS, TEXTS, keyword_pipeline
from labeled import Cats
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError, NonFiniteError, PipelineError
from trfcli_pipeline.evaluation.classifier import find_classifier
from trfcli_pipeline.evaluation.run import evaluate_classifier, predict_texts


@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_evaluate_exclusive_classifier(batch_size: int) -> None:
    nlp = keyword_pipeline()
    classifier = find_classifier(nlp, "keywords")
    evaluation = evaluate_classifier(nlp, RECORDS, classifier, batch_size=batch_size, name="")
    assert evaluation.exclusive_classes
    assert evaluation.accuracy == 3 / 4
    assert evaluation.n_words == 6
    assert evaluation.seconds is not None
    assert evaluation.seconds > 0
    assert evaluation.speed == evaluation.n_words / evaluation.seconds
    assert [mistake.index for mistake in evaluation.mistakes] == [2]
    metrics = evaluation.metrics()
    assert metrics["speed"] == evaluation.speed
    assert metrics["n_texts"] == 4
    assert metrics["labels"] == ["HAM", "SPAM"]
    assert metrics["cats_score_desc"] == "macro F"


def test_evaluate_multi_label_classifier() -> None:
    cats: list[Cats] = [{"SPAM": 1.0}, {"SPAM": 0.0}, {"SPAM": 0.0}, {}]
    records = [Record(text, each, 1, partial=True) for text, each in zip(TEXTS, cats, strict=True)]
    nlp = keyword_pipeline(exclusive_classes=False)
    evaluation = evaluate_classifier(
        nlp, records, find_classifier(nlp, "keywords"), threshold=0.95, name=""
    )
    assert not evaluation.exclusive_classes
    assert evaluation.threshold == 0.95
    assert (evaluation.n_scored, evaluation.accuracy) == (3, 2 / 3)
    assert evaluation.metrics()["confusion_matrix"] is None


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [(None, 0.85), ({}, 0.85), ({"SPAM": 0.9}, {"HAM": 0.85, "SPAM": 0.9})],
)
def test_default_threshold_is_the_components_own(
    thresholds: dict[str, float] | None, expected: float | dict[str, float]
) -> None:
    nlp = keyword_pipeline(exclusive_classes=False, thresholds=thresholds)
    assert find_classifier(nlp, "keywords").threshold == expected
    assert (
        evaluate_classifier(nlp, RECORDS, find_classifier(nlp, "keywords"), name="").threshold
        == expected
    )
    given = evaluate_classifier(
        nlp, RECORDS, find_classifier(nlp, "keywords"), threshold=0.3, name=""
    )
    assert given.threshold == 0.3
    each = evaluate_classifier(
        nlp,
        RECORDS,
        find_classifier(nlp, "keywords"),
        threshold={"HAM": 0.05, "SPAM": 0.95},
        name="",
    )
    assert each.threshold == {"HAM": 0.05, "SPAM": 0.95}
    # The scores of "free money" are HAM 0.1 and SPAM 0.9.
    assert [mistake.index for mistake in each.mistakes] == [0]


def test_exclusive_classifier_has_no_threshold() -> None:
    nlp = keyword_pipeline(thresholds={"SPAM": 0.99})
    evaluation = evaluate_classifier(nlp, RECORDS, find_classifier(nlp, "keywords"), name="")
    assert evaluation.threshold is None
    assert evaluation.accuracy == 3 / 4


def test_predict_counts_words_without_whitespace() -> None:
    prediction = predict_texts(keyword_pipeline(), ["feel free", "", "a  b"], batch_size=2)
    assert [cats["SPAM"] for cats in prediction.cats] == [0.9, 0.2, 0.2]
    assert prediction.n_words == 4
    assert prediction.seconds > 0


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_score_that_is_not_finite_is_an_error(score: float) -> None:
    def break_scores(doc: Doc) -> Doc:
        if "feel" in doc.text:
            doc.cats["SPAM"] = score
        return doc

    nlp = keyword_pipeline()
    # Each score needs a name of its own: spaCy keeps the first function of a name.
    name = f"test_broken_scores_{score}"
    Language.component(name, func=break_scores)
    nlp.add_pipe(name)
    with pytest.raises(NonFiniteError) as caught:
        evaluate_classifier(nlp, RECORDS, find_classifier(nlp, "keywords"), name="")
    assert caught.value.message == f'the score of SPAM for the text "feel free" is {score}'


@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_first_enabled_text_classifier_is_evaluated(factory: str) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("textcat", name="untrained")
    textcat = nlp.add_pipe(factory, name="classifier")
    textcat.add_label("HAM")  # type: ignore[attr-defined]
    textcat.add_label("SPAM")  # type: ignore[attr-defined]
    # The untrained component can't predict.
    textcat.initialize(lambda: [Example.from_dict(nlp.make_doc("a"), {"cats": {"HAM": 1.0}})])  # type: ignore[attr-defined]
    with nlp.select_pipes(disable="untrained"):
        evaluation = evaluate_classifier(nlp, RECORDS, find_classifier(nlp), name="")
    assert evaluation.labels == ("HAM", "SPAM")
    assert evaluation.exclusive_classes is (factory == "textcat")


def test_pipeline_without_a_text_classifier_is_an_error() -> None:
    nlp = spacy.blank("de")
    with pytest.raises(PipelineError, match=r"^\./de: has no text classifier") as error:
        find_classifier(nlp, model="./de")
    assert error.value.hint == "Train one: trf train-textcat MODEL TRAIN"
    nlp.add_pipe("textcat")
    with pytest.raises(PipelineError, match=r"^\./de: textcat has no labels"):
        find_classifier(nlp, model="./de")


def test_missing_gold_labels_are_reported_before_the_pipeline_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nlp = keyword_pipeline()

    def pipe(*args: Any, **kwargs: Any) -> None:
        pytest.fail("the pipeline ran")

    monkeypatch.setattr(nlp, "pipe", pipe)
    with pytest.raises(DataError, match="No text has a gold label"):
        evaluate_classifier(
            nlp, [Record("", None, 1)] * 4, find_classifier(nlp, "keywords"), name=""
        )
    with pytest.raises(DataError, match="no texts"):
        evaluate_classifier(nlp, [], find_classifier(nlp, "keywords"), name="")


def test_texts_dropped_by_the_pipeline_are_an_error() -> None:
    nlp = keyword_pipeline()

    def ignore(*args: Any) -> None:
        pass

    @Language.component("test_evaluation_failing")
    def fail(doc: Doc) -> Doc:
        if not doc.text:
            raise RuntimeError("empty")
        return doc

    nlp.add_pipe("test_evaluation_failing", first=True)
    nlp.set_error_handler(ignore)  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="The pipeline returned 3 of 4 texts"):
        evaluate_classifier(nlp, RECORDS, find_classifier(nlp, "keywords"), name="")
