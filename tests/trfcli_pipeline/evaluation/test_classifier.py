from typing import Any

import pytest
import spacy
from keyword_classifier import keyword_pipeline

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.classifier import (
    Classifier,
    find_classifier,
    find_classifiers,
    gold_cats,
    predicted_labels,
)
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction


@pytest.mark.parametrize(
    ("exclusive", "threshold", "expected"),
    [
        (True, 0.5, ["B"]),
        (False, 0.5, ["B", "C"]),
        (False, {"A": 0.2, "B": 0.9, "C": 0.6, "D": 0.0}, ["C", "A"]),
        (False, 0.81, []),
    ],
)
def test_labels_that_apply_by_descending_score(
    exclusive: bool, threshold: float | dict[str, float], expected: list[str]
) -> None:
    classifier = Classifier("textcat", tuple("ABCD"), exclusive, threshold)
    scores = {"A": 0.2, "B": 0.8, "C": 0.6, "of another component": 1.0}
    assert predicted_labels(scores, [classifier]) == expected
    assert predicted_labels({}, [classifier]) == []
    # Evaluation decides the same.
    prediction = EvalPrediction.from_cats(
        [{"A": 1.0}], [scores], classifier.labels, exclusive=exclusive, threshold=threshold
    )
    evaluated = zip(classifier.labels, prediction.is_predicted[0], strict=True)
    assert {label for label, applies in evaluated if applies and label in scores} == {*expected}


def test_labels_of_several_classifiers() -> None:
    topics = Classifier("topics", ["A", "B"], False, {"A": 0.3, "B": 0.9})
    mood = Classifier("mood", ["GOOD", "BAD"], True)
    scores = {"A": 0.4, "B": 0.8, "GOOD": 0.5, "BAD": 0.5}
    assert predicted_labels(scores, [topics, mood]) == ["GOOD", "A"]
    # A label of both is listed once.
    assert predicted_labels(scores, [topics, topics._replace(threshold=0.5)]) == ["B", "A"]
    assert topics.thresholds == {"A": 0.3, "B": 0.9}
    assert topics._replace(threshold=0.2).thresholds == {"A": 0.2, "B": 0.2}
    assert mood.thresholds == {}


def test_classifiers_without_labels_are_left_out() -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("textcat_multilabel")
    labels: Any = nlp.add_pipe("textcat", name="mood")
    labels.add_label("GOOD")
    labels.add_label("BAD")
    nlp.add_pipe("sentencizer")
    assert find_classifiers(nlp) == [Classifier("mood", ("GOOD", "BAD"), True)]
    nlp.disable_pipe("mood")
    assert find_classifiers(nlp) == []


def test_gold_cats_of_records() -> None:
    records = [
        Record("a", {"SPAM": 1.0}, 1),
        Record("b", {"SPAM": 0.2, "OTHER": 0.0}, 2, partial=True),
        Record("c", {}, 3),
    ]
    exclusive = find_classifier(keyword_pipeline(), "keywords")
    several = find_classifier(keyword_pipeline(exclusive_classes=False), "keywords")
    assert gold_cats(records, exclusive, name="a.jsonl") == [
        {"HAM": 0.0, "SPAM": 1.0},
        {"HAM": 0.0, "SPAM": 0.2},
        {"HAM": 0.0, "SPAM": 0.0},
    ]
    assert gold_cats(records, several, name="a.jsonl") == [
        {"HAM": 0.0, "SPAM": 1.0},
        {"SPAM": 0.2},
        {"HAM": 0.0, "SPAM": 0.0},
    ]


def test_error_about_gold_labels_names_file_and_line() -> None:
    classifier = find_classifier(keyword_pipeline(), "keywords")
    records = [Record("a", {"SPAM": 1.0}, 1), Record("b", {"Hamm": 1.0}, 7)]
    with pytest.raises(DataError) as error:
        gold_cats(records, classifier, name="a.jsonl")
    assert error.value.message == "a.jsonl: 1 label is not in the model: Hamm (line 7)"
    assert error.value.hint == "Did you mean HAM instead of Hamm? Known labels: HAM, SPAM"
    records = [Record("a", {"SPAM": 1.0, "HAM": 1.0}, 3)]
    with pytest.raises(DataError) as error:
        gold_cats(records, classifier, name="stdin")
    assert error.value.message == (
        "stdin: 1 text has several labels, but the model predicts exactly one per text "
        "(first: line 3, HAM, SPAM)"
    )
    several = find_classifier(keyword_pipeline(exclusive_classes=False), "keywords")
    assert gold_cats(records, several, name="stdin") == [{"HAM": 1.0, "SPAM": 1.0}]
