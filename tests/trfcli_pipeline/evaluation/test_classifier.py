import pytest
from keyword_classifier import keyword_pipeline

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.classifier import Classifier, find_classifier, gold_cats


@pytest.mark.parametrize(
    ("exclusive", "threshold", "expected"),
    [
        (True, 0.5, ["B"]),
        (False, 0.5, ["B", "C"]),
        (False, {"A": 0.2, "B": 0.9, "C": 0.6, "D": 0.0}, ["A", "C"]),
    ],
)
def test_scores_predict_labels(
    exclusive: bool, threshold: float | dict[str, float], expected: list[str]
) -> None:
    classifier = Classifier("textcat", tuple("ABCD"), exclusive, threshold)
    scores = {"A": 0.2, "B": 0.8, "C": 0.6, "of another component": 1.0}
    assert classifier.predicted_labels(scores) == expected
    assert classifier.predicted_labels({}) == []


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
        gold_cats(records, classifier, name="-")
    assert error.value.message == (
        "stdin: 1 text has several labels, but the model predicts exactly one per text "
        "(first: line 3, HAM, SPAM)"
    )
    several = find_classifier(keyword_pipeline(exclusive_classes=False), "keywords")
    assert gold_cats(records, several, name="-") == [{"HAM": 1.0, "SPAM": 1.0}]
