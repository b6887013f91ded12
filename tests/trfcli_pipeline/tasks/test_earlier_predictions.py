from typing import Any

import pytest

from trfcli_pipeline.tasks.earlier_predictions import EarlierPredictions

ENTS = [{"start": 0, "end": 1, "label": "X", "text": "a"}]


def found(*rows: dict[str, Any]) -> list[str]:
    earlier = EarlierPredictions()
    for row in rows:
        earlier.add(row)
    return earlier.found(list(dict.fromkeys(key for row in rows for key in row)))


SCORED = {"label": "A", "score": "0.9998172"}


@pytest.mark.parametrize(
    ("before", "written", "after"),
    [
        ({}, SCORED, {}),
        ({"text": "a", "label": "GOLD"}, {"label_predicted": "A", "score": 0.9998172}, {}),
        ({"text": "a", "score": "5"}, {"label": "A", "score_predicted_2": "0.9998172"}, {}),
        ({"text": "a"}, {**SCORED, "score_A": "0.9998172", "score_B": "0.0001828"}, {"b": "1"}),
        ({}, {"labels": "A|B", "score": "0.9998172", "ents": "[]", "spans": "{}"}, {"note": "x"}),
        ({"text": "a"}, {"cats": {"A": 0.9998172, "B": 1e-9}, "labels": ["A"], "ents": []}, {}),
        ({"label": "GOLD"}, {"ents": ENTS}, {"n": 1}),
        (
            {"text": "a"},
            {**SCORED, "unsure": "false", "label_set": "A|B", "novelty": "1.25", "ents": "[]"},
            {"b": "1"},
        ),
        (
            {"unsure": "maybe"},
            {"label": "A", "score": 0.9998172, "unsure_predicted": True, "label_set": ["A"]},
            {"novelty_value": 2},
        ),
        ({}, {"spans": {"sc": ENTS}, "tokens": [{"start": 0, "end": 1, "tag": "NN"}]}, {}),
    ],
)
def test_columns_of_a_run_are_found(
    before: dict[str, Any], written: dict[str, Any], after: dict[str, Any]
) -> None:
    assert found({**before, **written, **after}) == list(written)


def test_some_scores_may_be_round_or_missing() -> None:
    rows = [("", ""), ("A", "1.0"), ("A", "0.9998172")]
    assert found(*({"labels": labels, "score": score} for labels, score in rows)) == [
        *("labels", "score")
    ]


@pytest.mark.parametrize(
    "own",
    [
        {"label": "A"},
        {"label": "A", "score": "4"},
        {"label": "A", "score": "0.75"},
        {"label": "A", "score": "high"},
        {"label": "A", "score": "0.9998173117637634"},
        {"label": "", "score": "0.9998172"},
        {"label": "A", "note": "", "score": "0.9998172"},
        {"label": "B", "score": "0.9998172", "score_A": "0.9998172", "score_B": "0.0001828"},
        {"cats": {"A": 1.0}, "labels": ["A"]},
        {"cats": {"A": 0.9998172}, "labels": ["B"]},
        {"cats": {"A": 0.9998172}},
        {"labels": ["A"]},
        {"ents": [{"start": 0, "end": 1, "label": "X"}]},
        {"ents": "none"},
        {"ents": []},
        {"spans": [1]},
        {"tokens": ["a", "b"]},
    ],
    ids=str,
)
def test_columns_of_the_user_are_not(own: dict[str, Any]) -> None:
    assert found({"text": "a", **own}) == []


def test_one_value_that_no_run_writes_is_enough() -> None:
    assert found({"text": "a", **SCORED}, {"text": "b", "label": "A", "score": "3"}) == []
