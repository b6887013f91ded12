from collections.abc import Mapping
from operator import attrgetter

import numpy as np
import pytest

from trfcli_pipeline.evaluation.results import Evaluation, score_cats
from trfcli_pipeline.evaluation.summary import WeakLabel

Cells = Mapping[tuple[str, str], int]


def exclusive(cells: Cells, *, unlabeled: int = 0) -> Evaluation:
    """Numbers of texts by gold and predicted label."""
    labels = sorted({label for pair in cells for label in pair})
    pairs = [pair for pair, number in cells.items() for _ in range(number)]
    gold = [{label: 1.0} for label, _ in pairs] + [{}] * unlabeled
    predicted = [{predicted: 1.0} for _, predicted in pairs] + [{labels[0]: 1.0}] * unlabeled
    return score_cats(gold, predicted, labels, exclusive=True)


def multilabel(cells: Cells, labels: str) -> Evaluation:
    """Numbers of texts by gold and predicted labels, each a string of one-letter labels."""
    rows = [pair for pair, number in cells.items() for _ in range(number)]
    gold, predicted = (
        [{label: float(label in row[part]) for label in labels} for row in rows] for part in (0, 1)
    )
    return score_cats(gold, predicted, labels, exclusive=False)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            {("CARD", "CARD"): 50, ("FEE", "FEE"): 39, ("REFUND", "REFUND"): 7}
            | {("REFUND", "CARD"): 3, ("REFUND", "FEE"): 1},
            "96 of 100 texts right; REFUND is the weakest label, mostly taken for CARD.",
        ),
        (
            {("CARD", "CARD"): 50, ("FEE", "FEE"): 40, ("REFUND", "REFUND"): 6}
            | {("REFUND", "CARD"): 2, ("REFUND", "FEE"): 2},
            "96 of 100 texts right; REFUND is the weakest label, missed in 4 of its 10 texts.",
        ),
        (
            {("CARD", "CARD"): 500, ("CARD", "REFUND"): 9, ("FEE", "REFUND"): 2}
            | {("FEE", "FEE"): 479, ("REFUND", "REFUND"): 10},
            "989 of 1,000 texts right; REFUND is the weakest label, wrong in 11 of 21 predictions, "
            "mostly on CARD.",
        ),
        (
            {("A", "A"): 40, ("B", "B"): 36, ("C", "C"): 20, ("A", "B"): 1, ("C", "A"): 3},
            "96 of 100 texts right; no label is clearly weaker than the others.",
        ),
        (
            {("A", "A"): 50, ("B", "B"): 46, ("A", "B"): 1, ("B", "A"): 3},
            "96 of 100 texts right; neither label is clearly weaker than the other.",
        ),
        # All four texts of B are wrong, but they are few.
        (
            {("A", "A"): 90, ("B", "A"): 4, ("C", "C"): 6},
            "96 of 100 texts right; no label is clearly weaker than the others.",
        ),
        # Only one label can be judged.
        ({("A", "A"): 28, ("A", "B"): 2}, "28 of 30 texts right."),
        ({("A", "A"): 60, ("B", "B"): 40}, "All 100 texts right."),
        ({("A", "A"): 12}, "All 12 texts right, but 12 texts are too few to rely on."),
        ({("A", "A"): 4, ("B", "A"): 1}, "4 of 5 texts right, but 5 texts are too few to rely on."),
        ({("A", "A"): 2}, "2 of 2 texts right, but 2 texts are too few to rely on."),
        ({("A", "B"): 1}, "0 of 1 text right, but 1 text is too few to rely on."),
    ],
)
def test_sentence_for_exclusive_labels(cells: Cells, sentence: str) -> None:
    assert exclusive(cells).summary == sentence


@pytest.mark.parametrize(
    ("cells", "labels", "sentence"),
    [
        (
            {("A", "A"): 60, ("AB", "AB"): 10, ("AB", "A"): 6, ("", ""): 4},
            "AB",
            "74 of 80 texts right in all labels; B is the weakest label, missed in 6 of its 16 "
            "texts.",
        ),
        (
            {("A", "A"): 60, ("B", "B"): 10, ("A", "AB"): 8, ("", "B"): 1},
            "AB",
            "70 of 79 texts right in all labels; B is the weakest label, wrong in 9 of 19 "
            "predictions.",
        ),
        ({("A", "A"): 30, ("B", "B"): 30}, "AB", "All 60 texts right in all labels."),
        (
            {("A", "A"): 23, ("A", ""): 7, ("", ""): 29, ("", "A"): 1},
            "A",
            "52 of 60 texts right; A is missed in 7 of its 30 texts and wrong in 1 of 24 "
            "predictions.",
        ),
        ({("A", "A"): 30, ("", ""): 30}, "A", "All 60 texts right."),
    ],
)
def test_sentence_for_multi_label_classifiers(cells: Cells, labels: str, sentence: str) -> None:
    assert multilabel(cells, labels).summary == sentence


def test_texts_that_are_not_scored_are_not_counted() -> None:
    evaluation = exclusive({("A", "A"): 60, ("B", "B"): 40}, unlabeled=3)
    assert evaluation.summary == "All 100 labeled texts right."


def test_facts_are_among_the_metrics() -> None:
    cells = {("A", "A"): 90, ("B", "B"): 6, ("B", "A"): 4}
    metrics = exclusive(cells).metrics()
    assert metrics["n_correct"] == 96
    assert (
        metrics["summary"] == "96 of 100 texts right; B is the weakest label, mostly taken for A."
    )
    assert metrics["weakest_label"] == {
        "label": "B",
        "measure": "recall",
        "errors": 4,
        "texts": 10,
        "other": "A",
    }
    assert exclusive({("A", "A"): 9}).metrics()["weakest_label"] is None


def test_weakest_label_is_the_one_with_the_lowest_f_that_is_not_chance() -> None:
    # C has the lowest F, but of five texts only.
    cells = {("A", "A"): 880, ("B", "B"): 65, ("B", "A"): 35, ("C", "C"): 3, ("C", "D"): 2}
    evaluation = exclusive({**cells, ("D", "D"): 9})
    assert min(evaluation.label_scores, key=attrgetter("f")).label == "C"
    assert evaluation.weakest_label == WeakLabel("B", "recall", errors=35, texts=100, other="A")


@pytest.mark.parametrize(("n_labels", "n_texts"), [(2, 100), (10, 100), (30, 300)])
def test_label_is_rarely_named_if_all_are_equally_good(n_labels: int, n_texts: int) -> None:
    rng = np.random.default_rng(0)
    labels = [f"L{number}" for number in range(n_labels)]
    named = 0
    for _ in range(60):
        gold = rng.integers(n_labels, size=n_texts)
        shift = np.where(rng.random(n_texts) < 0.2, rng.integers(1, n_labels, size=n_texts), 0)
        evaluation = score_cats(
            [{labels[column]: 1.0} for column in gold],
            [{labels[column]: 1.0} for column in (gold + shift) % n_labels],
            labels,
            exclusive=True,
        )
        named += evaluation.weakest_label is not None
    assert named <= 8  # binomial(60, 0.05) exceeds it once in 300 times
