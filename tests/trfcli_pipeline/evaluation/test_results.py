import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import (
    GOLD,
    LABELS,
    PREDICTED,
    Cats,
    Pairs,
    exclusive_pairs,
    multilabel_pairs,
    one_hot,
)

from trfcli_pipeline.evaluation.mistakes import Confusion, Mistake
from trfcli_pipeline.evaluation.results import Evaluation, score_cats


def exclusive_case() -> Evaluation:
    return score_cats(GOLD, PREDICTED, LABELS, exclusive=True)


def multilabel_case(**options: Any) -> Evaluation:
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
    return score_cats(gold, predicted, LABELS, exclusive=False, **options)


# Computed by hand


def test_metrics_of_exclusive_labels() -> None:
    evaluation = exclusive_case()
    assert evaluation.accuracy == 3 / 5
    assert evaluation.confusion_matrix == ((2, 1, 0), (1, 1, 0), (0, 0, 0))
    assert evaluation.confusions == (Confusion("HAM", "SPAM", 1), Confusion("SPAM", "HAM", 1))
    ham, spam, odd = evaluation.label_scores
    assert (ham.precision, ham.recall, ham.support) == pytest.approx((2 / 3, 2 / 3, 3))
    assert (spam.precision, spam.recall, spam.f, spam.support) == (0.5, 0.5, 0.5, 2)
    assert (odd.f, odd.support, odd.auc, odd.average_precision) == (0.0, 0, None, None)
    assert ham.auc == pytest.approx(5 / 6)
    assert evaluation.macro_f == pytest.approx((2 / 3 + 0.5) / 3)
    assert evaluation.weighted["weighted_f"] == pytest.approx((3 * 2 / 3 + 2 * 0.5) / 5)
    assert evaluation.ece == pytest.approx((0.55 + 0.65 + 0.25 + 0.10) / 5)
    assert evaluation.threshold is None
    assert ham.threshold is None


def test_macro_auc_ignores_labels_without_texts() -> None:
    evaluation = exclusive_case()
    ham, spam, _ = evaluation.label_scores
    assert ham.auc is not None and spam.auc is not None
    assert evaluation.macro_auc == pytest.approx((ham.auc + spam.auc) / 2)
    assert evaluation.cats["cats_macro_auc"] == pytest.approx((ham.auc + spam.auc) / 3)


def test_mistakes_are_sorted_by_confidence() -> None:
    assert exclusive_case().mistakes == (
        Mistake(3, gold=("SPAM",), predicted=("HAM",), label="HAM", score=0.55),
        Mistake(2, gold=("HAM",), predicted=("SPAM",), label="SPAM", score=0.65),
    )


def test_most_frequent_confusion_is_first() -> None:
    gold = [one_hot(label) for label in ("HAM", "SPAM", "SPAM", "ODD")]
    predicted = [one_hot(label) for label in ("SPAM", "ODD", "ODD", "ODD")]
    assert score_cats(gold, predicted, LABELS, exclusive=True).confusions == (
        Confusion("SPAM", "ODD", 2),
        Confusion("HAM", "SPAM", 1),
    )


def test_metrics_of_multi_label_predictions() -> None:
    evaluation = multilabel_case()
    assert (evaluation.n_texts, evaluation.n_scored) == (4, 3)
    assert evaluation.accuracy == 1 / 3
    assert evaluation.confusion_matrix is None
    assert evaluation.confusions == ()
    assert [row.support for row in evaluation.label_scores] == [2, 1, 1]
    micro = [evaluation.cats[f"cats_micro_{score}"] for score in "prf"]
    assert micro == pytest.approx([2 / 3, 1 / 2, 4 / 7])
    assert evaluation.micro_f == pytest.approx(4 / 7)


def test_multi_label_mistakes_name_the_worst_label_and_skip_unknown_ones() -> None:
    assert multilabel_case().mistakes == (
        Mistake(3, gold=("ODD",), predicted=(), label="ODD", score=0.45),
        Mistake(0, gold=("HAM", "SPAM"), predicted=("HAM", "ODD"), label="SPAM", score=0.1),
    )


def test_threshold_per_label() -> None:
    evaluation = multilabel_case(threshold={"HAM": 0.5, "SPAM": 0.1, "ODD": 0.4})
    assert evaluation.threshold == {"HAM": 0.5, "SPAM": 0.1, "ODD": 0.4}
    assert [row.threshold for row in evaluation.label_scores] == [0.5, 0.1, 0.4]
    assert evaluation.metrics()["threshold"] == evaluation.threshold
    recalls = {label: prf["r"] for label, prf in evaluation.cats["cats_f_per_type"].items()}
    assert recalls == {"HAM": 1.0, "SPAM": 1.0, "ODD": 1.0}
    assert multilabel_case(threshold=dict.fromkeys(LABELS, 0.5)).threshold == 0.5
    assert multilabel_case().metrics() == multilabel_case(threshold={"HAM": 0.5}).metrics()


def test_gold_records_may_name_only_the_label_that_applies() -> None:
    predicted = [{"HAM": 0.9, "SPAM": 0.1}, {"HAM": 0.2, "SPAM": 0.8}]
    full = [{"HAM": 1.0, "SPAM": 0.0}, {"HAM": 0.0, "SPAM": 1.0}]
    short: list[Cats] = [{"HAM": 1.0}, {"SPAM": 1.0}]
    labels = ("HAM", "SPAM")
    one, other = (score_cats(gold, predicted, labels, exclusive=True) for gold in (short, full))
    assert one.metrics() == other.metrics()


def test_auc_is_none_when_all_texts_have_the_same_label() -> None:
    labels = ("HAM", "SPAM")
    evaluation = score_cats([{"HAM": 1.0}], [{"HAM": 1.0, "SPAM": 0.0}], labels, exclusive=True)
    assert evaluation.macro_auc is None
    assert evaluation.macro_average_precision is None
    assert evaluation.metrics()["cats_auc_per_type"] == {"HAM": None, "SPAM": None}


def test_exclusive_text_without_a_label_is_not_scored() -> None:
    gold: list[Cats] = [one_hot("HAM"), {"HAM": 0.0}, {}]
    evaluation = score_cats(gold, [one_hot("HAM")] * 3, LABELS, exclusive=True)
    assert (evaluation.n_texts, evaluation.n_scored, evaluation.accuracy) == (3, 1, 1.0)


# Invariants


@given(st.one_of(exclusive_pairs.map(lambda p: (True, p)), multilabel_pairs.map(lambda p: (0, p))))
@settings(max_examples=50)
def test_metrics_stay_within_their_ranges(case: tuple[bool, Pairs]) -> None:
    exclusive, pairs = case
    gold, predicted = zip(*pairs, strict=True)
    evaluation = score_cats(gold, predicted, LABELS, exclusive=bool(exclusive))
    low, high = evaluation.intervals["accuracy"]
    assert 0.0 <= low <= evaluation.accuracy <= high <= 1.0
    for low, high in evaluation.intervals.values():
        assert 0.0 <= low <= high <= 1.0
    assert 0.0 <= evaluation.ece <= 1.0
    assert -1.0 <= evaluation.mcc <= 1.0
    n_wrong = len(evaluation.mistakes)
    assert evaluation.accuracy == (evaluation.n_scored - n_wrong) / evaluation.n_scored
    if evaluation.confusion_matrix is not None:
        assert evaluation.n_scored == np.sum(evaluation.confusion_matrix)
        assert evaluation.n_scored - n_wrong == np.trace(evaluation.confusion_matrix)
        assert n_wrong == sum(each.texts for each in evaluation.confusions)
    for mistake in evaluation.mistakes:
        assert mistake.gold != mistake.predicted
        assert mistake.score == predicted[mistake.index][mistake.label]
    assert json.loads(json.dumps(evaluation.metrics(), allow_nan=False)) == evaluation.metrics()


@given(exclusive_pairs, st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_order_of_texts_changes_nothing(pairs: Pairs, random: Any) -> None:
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
@settings(max_examples=25)
def test_perfect_predictions(labels: list[str]) -> None:
    gold = [one_hot(label) for label in (*LABELS, *labels)]
    for exclusive in (True, False):
        evaluation = score_cats(gold, gold, LABELS, exclusive=exclusive)
        metrics = evaluation.metrics()
        values = [
            value
            for name, value in metrics.items()
            if name.startswith(("cats_", "weighted_", "macro_", "mcc")) and isinstance(value, float)
        ]
        assert len(values) == 8 + 3 + 2 + 1
        assert values == pytest.approx([1.0] * len(values))
        assert metrics["cats_f_per_type"] == {x: {"p": 1, "r": 1, "f": 1} for x in LABELS}
        assert evaluation.accuracy == 1.0
        low, high = evaluation.intervals["accuracy"]
        assert low < high == 1.0
        assert "cats_macro_f" not in evaluation.intervals
        assert evaluation.ece == 0.0
        assert evaluation.mistakes == ()
