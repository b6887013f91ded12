import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.scores import Evaluation, Mistake, score_cats

Cats = Mapping[str, float]
LABELS = ("HAM", "SPAM", "ODD")


def spacy_scores(
    gold: Sequence[Cats], predicted: Sequence[Cats], labels: Sequence[str], **options: Any
) -> dict[str, Any]:
    vocab = Vocab()
    examples = []
    for gold_cats, predicted_cats in zip(gold, predicted, strict=True):
        doc, reference = Doc(vocab), Doc(vocab)
        doc.cats, reference.cats = dict(predicted_cats), dict(gold_cats)
        examples.append(Example(doc, reference))
    return Scorer.score_cats(examples, "cats", labels=labels, **options)


def one_hot(label: str) -> dict[str, float]:
    return {name: float(name == label) for name in LABELS}


scores = st.floats(0.0, 1.0, width=32)
# spaCy breaks ties by the order in doc.cats, which is that of the labels
predictions = st.tuples(scores, scores, scores).map(lambda row: dict(zip(LABELS, row, strict=True)))
exclusive_pairs = st.lists(
    st.tuples(st.sampled_from(LABELS).map(one_hot), predictions), min_size=1, max_size=30
)
multilabel_pairs = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(LABELS), st.sampled_from([0.0, 1.0])),
        predictions,
    ),
    min_size=1,
    max_size=30,
).filter(lambda pairs: any(gold for gold, _ in pairs))


# Against spaCy's Scorer


def assert_spacy_agrees(evaluation: Evaluation, expected: Mapping[str, Any]) -> None:
    metrics = evaluation.metrics()
    assert {name for name in metrics if name.startswith("cats_")} == set(expected)
    for name, value in expected.items():
        assert metrics[name] == value, name
    for row in evaluation.label_scores:
        prf = expected["cats_f_per_type"][row.label]
        assert (row.precision, row.recall, row.f) == (prf["p"], prf["r"], prf["f"])
        assert row.auc == expected["cats_auc_per_type"][row.label]


@given(exclusive_pairs)
@settings(max_examples=50, deadline=None)
def test_exclusive_scores_are_those_of_spacy(pairs: list[tuple[Cats, Cats]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    evaluation = score_cats(gold, predicted, LABELS, exclusive=True)
    assert_spacy_agrees(evaluation, spacy_scores(gold, predicted, LABELS, multi_label=False))


@given(multilabel_pairs, scores)
@settings(max_examples=50, deadline=None)
def test_multilabel_scores_are_those_of_spacy(
    pairs: list[tuple[Cats, Cats]], threshold: float
) -> None:
    gold, predicted = zip(*pairs, strict=True)
    evaluation = score_cats(gold, predicted, LABELS, exclusive=False, threshold=threshold)
    expected = spacy_scores(gold, predicted, LABELS, multi_label=True, threshold=threshold)
    assert_spacy_agrees(evaluation, expected)


def test_gold_that_only_names_the_positive_label() -> None:
    predicted = [{"HAM": 0.9, "SPAM": 0.1}, {"HAM": 0.2, "SPAM": 0.8}]
    full = [{"HAM": 1.0, "SPAM": 0.0}, {"HAM": 0.0, "SPAM": 1.0}]
    short: list[Cats] = [{"HAM": 1.0}, {"SPAM": 1.0}]
    labels = ("HAM", "SPAM")
    assert score_cats(short, predicted, labels, exclusive=True) == score_cats(
        full, predicted, labels, exclusive=True
    )


# By hand


def exclusive_case() -> Evaluation:
    gold = [one_hot(label) for label in ("HAM", "HAM", "HAM", "SPAM", "SPAM")]
    predicted = [
        {"HAM": 0.75, "SPAM": 0.25},
        {"HAM": 0.95, "SPAM": 0.05},
        {"HAM": 0.35, "SPAM": 0.65},
        {"HAM": 0.55, "SPAM": 0.45},
        {"HAM": 0.05, "SPAM": 0.95},
    ]
    return score_cats(gold, predicted, LABELS, exclusive=True)


def test_exclusive_by_hand() -> None:
    evaluation = exclusive_case()
    assert evaluation.accuracy == 3 / 5
    assert evaluation.confusion_matrix == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert [row.support for row in evaluation.label_scores] == [3, 2, 0]
    ham, spam, odd = evaluation.label_scores
    assert (ham.precision, ham.recall) == pytest.approx((2 / 3, 2 / 3))
    assert (spam.precision, spam.recall, spam.f) == (0.5, 0.5, 0.5)
    assert odd.f == 0.0
    assert ham.auc == pytest.approx(5 / 6)
    assert evaluation.macro_f == pytest.approx((2 / 3 + 0.5) / 3)
    # one decision in each of (0.5, 0.6], (0.6, 0.7], (0.7, 0.8], and two in (0.9, 1.0]
    assert evaluation.ece == pytest.approx((0.55 + 0.65 + 0.25 + 0.10) / 5)
    assert evaluation.threshold is None


def test_exclusive_mistakes_least_sure_first() -> None:
    assert exclusive_case().mistakes == (
        Mistake(3, gold=("SPAM",), predicted=("HAM",), label="HAM", score=0.55),
        Mistake(2, gold=("HAM",), predicted=("SPAM",), label="SPAM", score=0.65),
    )


def multilabel_case() -> Evaluation:
    gold: list[Cats] = [
        {"HAM": 1.0, "SPAM": 1.0, "ODD": 0.0},
        {"HAM": 1.0, "SPAM": 0.0},
        {},
        {"ODD": 1.0, "SPAM": 0.0},
    ]
    predicted = [
        {"HAM": 0.9, "SPAM": 0.1, "ODD": 0.6},
        {"HAM": 0.5, "SPAM": 0.2, "ODD": 0.99},
        {"HAM": 0.5, "SPAM": 0.5, "ODD": 0.5},
        {"HAM": 0.9, "SPAM": 0.3, "ODD": 0.45},
    ]
    return score_cats(gold, predicted, LABELS, exclusive=False)


def test_multilabel_by_hand() -> None:
    evaluation = multilabel_case()
    assert (evaluation.n_texts, evaluation.n_scored) == (4, 3)
    assert evaluation.accuracy == 1 / 3
    assert evaluation.confusion_matrix is None
    assert [row.support for row in evaluation.label_scores] == [2, 1, 1]
    micro = [evaluation.cats[f"cats_micro_{score}"] for score in "prf"]
    assert micro == pytest.approx([2 / 3, 1 / 2, 4 / 7])
    # confidences 0.9+ 0.9- 0.6- / 0.5+ 0.8+ / 0.7+ 0.55-: right +, wrong -; bins by upper edge
    bins = [(1, 1.8), (0, 0.6 + 0.55), (1, 0.5), (1, 0.8), (1, 0.7)]
    assert evaluation.ece == pytest.approx(sum(abs(n - c) for n, c in bins) / 7)


def test_multilabel_mistakes_name_the_worst_decision_and_skip_unknown_labels() -> None:
    assert multilabel_case().mistakes == (
        Mistake(3, gold=("ODD",), predicted=(), label="ODD", score=0.45),
        Mistake(0, gold=("HAM", "SPAM"), predicted=("HAM", "ODD"), label="SPAM", score=0.1),
    )


def test_threshold_is_inclusive() -> None:
    gold, predicted = [{"A": 1.0}], [{"A": 0.3}]
    assert score_cats(gold, predicted, ["A"], exclusive=False, threshold=0.3).accuracy == 1.0
    assert score_cats(gold, predicted, ["A"], exclusive=False, threshold=0.31).accuracy == 0.0


def test_calibrated_scores_have_no_calibration_error() -> None:
    gold = [{"A": float(i < 3)} for i in range(4)]
    predicted = [{"A": 0.75}] * 4
    assert score_cats(gold, predicted, ["A"], exclusive=False).ece == 0.0


def test_interval_of_a_known_share() -> None:
    gold: list[Cats] = [{"A": 1.0}] * 400
    predicted = [{"A": 1.0}] * 300 + [{"A": 0.0}] * 100
    low, high = score_cats(gold, predicted, ["A"], exclusive=False).accuracy_interval
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)


def test_seed_decides_the_interval() -> None:
    gold: list[Cats] = [{"A": 1.0}] * 997
    predicted = [{"A": float(i % 3 > 0)} for i in range(997)]

    def interval(seed: int) -> tuple[float, float]:
        return score_cats(gold, predicted, ["A"], exclusive=False, seed=seed).accuracy_interval

    assert interval(1) == interval(1)
    assert len({interval(seed) for seed in range(5)}) > 1


# Invariants


@given(st.one_of(exclusive_pairs.map(lambda p: (True, p)), multilabel_pairs.map(lambda p: (0, p))))
@settings(max_examples=50, deadline=None)
def test_ranges(case: tuple[bool, list[tuple[Cats, Cats]]]) -> None:
    exclusive, pairs = case
    gold, predicted = zip(*pairs, strict=True)
    evaluation = score_cats(gold, predicted, LABELS, exclusive=bool(exclusive))
    low, high = evaluation.accuracy_interval
    assert 0.0 <= low <= evaluation.accuracy <= high <= 1.0
    assert 0.0 <= evaluation.ece <= 1.0
    n_wrong = len(evaluation.mistakes)
    assert evaluation.accuracy == (evaluation.n_scored - n_wrong) / evaluation.n_scored
    if evaluation.confusion_matrix is not None:
        assert evaluation.n_scored == np.sum(evaluation.confusion_matrix)
        assert evaluation.n_scored - n_wrong == np.trace(evaluation.confusion_matrix)
    for mistake in evaluation.mistakes:
        assert mistake.gold != mistake.predicted
        assert mistake.score == predicted[mistake.index][mistake.label]
    assert json.loads(json.dumps(evaluation.metrics(), allow_nan=False)) == evaluation.metrics()


@given(exclusive_pairs, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_of_texts_changes_nothing(pairs: list[tuple[Cats, Cats]], random: Any) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    for exclusive in (True, False):
        first = score_cats(
            [g for g, _ in pairs], [p for _, p in pairs], LABELS, exclusive=exclusive
        )
        second = score_cats(
            [g for g, _ in shuffled], [p for _, p in shuffled], LABELS, exclusive=exclusive
        )
        assert first.metrics() == second.metrics()
        assert first.label_scores == second.label_scores
        assert {tuple(pairs[m.index][1].items()) for m in first.mistakes} == {
            tuple(shuffled[m.index][1].items()) for m in second.mistakes
        }


@given(st.lists(st.sampled_from(LABELS), max_size=10))
@settings(max_examples=25, deadline=None)
def test_perfect_predictions(labels: list[str]) -> None:
    gold = [one_hot(label) for label in (*LABELS, *labels)]
    for exclusive in (True, False):
        evaluation = score_cats(gold, gold, LABELS, exclusive=exclusive)
        metrics = evaluation.metrics()
        values = [
            value
            for name, value in metrics.items()
            if name.startswith("cats_") and isinstance(value, float)
        ]
        assert len(values) == 8
        assert set(values) == {1.0}
        assert metrics["cats_f_per_type"] == {x: {"p": 1, "r": 1, "f": 1} for x in LABELS}
        assert evaluation.macro_auc == evaluation.accuracy == 1.0
        assert evaluation.accuracy_interval == (1.0, 1.0)
        assert evaluation.ece == 0.0
        assert evaluation.mistakes == ()


def test_auc_is_none_when_all_texts_have_the_same_label() -> None:
    labels = ("HAM", "SPAM")
    evaluation = score_cats([{"HAM": 1.0}], [{"HAM": 1.0, "SPAM": 0.0}], labels, exclusive=True)
    assert evaluation.macro_auc is None
    assert evaluation.metrics()["cats_auc_per_type"] == {"HAM": None, "SPAM": None}


def test_exclusive_text_without_a_label_is_not_scored() -> None:
    gold: list[Cats] = [one_hot("HAM"), {"HAM": 0.0}, {}]
    evaluation = score_cats(gold, [one_hot("HAM")] * 3, LABELS, exclusive=True)
    assert (evaluation.n_texts, evaluation.n_scored, evaluation.accuracy) == (3, 1, 1.0)


def test_none_as_a_gold_score_is_unknown() -> None:
    gold: list[Any] = [{"HAM": 1.0, "SPAM": None}]
    evaluation = score_cats(gold, [{"HAM": 1.0, "SPAM": 1.0}], LABELS, exclusive=False)
    assert evaluation.accuracy == 1.0


# What can't be scored


@pytest.mark.parametrize(
    ("gold", "exclusive", "message"),
    [
        ([], True, "There are no texts to evaluate"),
        ([{}], True, "No text has a label, so there is nothing to score"),
        ([{}], False, "No text has a label, so there is nothing to score"),
        ([{"HAM": 0.0}], True, "No text has a label, so there is nothing to score"),
        (
            [{"HAM": 1.0}, {"NEW": 1.0}, {"NEW": 0.0}],
            True,
            "Label 'NEW' isn't among the labels of the text classifier (first in text 2)",
        ),
        (
            [{"B": 1.0, "A": 1.0}],
            False,
            "Labels 'B', 'A' aren't among the labels of the text classifier (first in text 1)",
        ),
        ([{"HAM": 1.5}], False, "Text 1: the score of 'HAM' is 1.5, not from 0 to 1"),
        ([{"HAM": math.nan}], False, "Text 1: the score of 'HAM' is nan, not from 0 to 1"),
        (
            [{"HAM": 1.0}, {"HAM": 1.0, "ODD": 1.0}],
            True,
            "Text 2 has more than one label (HAM, ODD), but the classes are exclusive",
        ),
    ],
)
def test_gold_errors(gold: list[Cats], exclusive: bool, message: str) -> None:
    with pytest.raises(DataError) as error:
        score_cats(gold, [one_hot("HAM")] * len(gold), LABELS, exclusive=exclusive)
    assert error.value.message == message


def test_unknown_label_error_lists_the_known_ones() -> None:
    labels = [f"L{i}" for i in range(12)]
    with pytest.raises(DataError) as error:
        score_cats([{"X": 1.0}], [{"L0": 1.0}], labels, exclusive=True)
    assert error.value.hint == "It knows L0, L1, L2, L3, L4, L5, L6, L7, L8, L9 and 2 more"


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({}, "Text 1 was given no score for any label"),
        ({"OTHER": 1.0}, "Text 1 was given no score for any label"),
        ({"HAM": math.nan}, "Text 1: the predicted score of 'HAM' is nan, not from 0 to 1"),
        ({"HAM": 7.0}, "Text 1: the predicted score of 'HAM' is 7.0, not from 0 to 1"),
    ],
)
def test_prediction_errors(predicted: Cats, message: str) -> None:
    with pytest.raises(PipelineError) as error:
        score_cats([one_hot("HAM")], [predicted], LABELS, exclusive=True)
    assert error.value.message == message


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="1 texts, but 2 gold records"):
        score_cats([{"A": 1.0}] * 2, [{"A": 1.0}], ["A"], exclusive=False)
    with pytest.raises(ValueError, match="threshold must be from 0 to 1, not 2"):
        score_cats([{"A": 1.0}], [{"A": 1.0}], ["A"], exclusive=False, threshold=2)


# With a pipeline
