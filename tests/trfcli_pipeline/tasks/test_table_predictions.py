from typing import Any

import pytest

from trfcli_pipeline.tasks.table_predictions import TableForm

CATS = {"A": 0.25, "B": 0.75}


def test_exclusive_label_is_a_cell() -> None:
    form = TableForm(["A", "B"], exclusive=True, scores=False)
    assert form({"cats": CATS, "labels": ["B"], "ents": []}) == {
        "label": "B",
        "score": 0.75,
        "ents": [],
    }
    assert form({"cats": {}, "labels": []}) == {"label": None, "score": None}
    # Also if no text of the first batch has a label.
    assert [form.kind(column) for column in ("label", "score", "score_A", "ents")] == [
        *("text", "number", "number", "text")
    ]


def test_scores_of_all_labels_follow() -> None:
    form = TableForm(["A", "B"], exclusive=False, scores=True)
    assert list(form({"cats": CATS, "labels": ["B", "A"], "ents": []}).items()) == [
        *[("labels", "B|A"), ("score", 0.75), ("score_A", 0.25), ("score_B", 0.75)],
        ("ents", []),
    ]
    assert form({"cats": CATS, "labels": []})["labels"] == ""


def test_what_was_fitted_follows() -> None:
    form = TableForm(["A", "B"], exclusive=True, scores=True)
    row = {"cats": CATS, "labels": ["B"], "unsure": True, "label_set": ["B", "A"], "novelty": 0.5}
    assert list(form({**row, "ents": []}).items()) == [
        *[("label", "B"), ("score", 0.75), ("score_A", 0.25), ("score_B", 0.75)],
        *[("unsure", True), ("label_set", "B|A"), ("novelty", 0.5), ("ents", [])],
    ]
    assert [form.kind(column) for column in ("unsure", "label_set", "novelty")] == [
        *("boolean", "text", "number")
    ]


def test_pipeline_without_a_classifier() -> None:
    row: dict[str, Any] = {"ents": [], "tokens": []}
    assert TableForm([], exclusive=False, scores=True)(row) == row


@pytest.mark.parametrize("odd", ["A|B", "[A]", " A"])
def test_labels_that_a_separator_does_not_fit_are_json(odd: str) -> None:
    form = TableForm([odd, "C"], exclusive=False, scores=False)
    cats = {odd: 0.9, "C": 0.8}
    cells = [form({"cats": cats, "labels": labels})["labels"] for labels in ([odd], ["C"], [])]
    assert cells == [f'["{odd}"]', '["C"]', "[]"]
