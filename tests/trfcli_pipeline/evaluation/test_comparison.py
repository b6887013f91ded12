import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.classifier import Classifier
from trfcli_pipeline.evaluation.comparison import Comparison, check_comparable, holm
from trfcli_pipeline.evaluation.results import Evaluation, score_cats

NAMES = ("A (old)", "B (new)")


def evaluation(gold: str, predicted: str, labels: str = "AB") -> Evaluation:
    """Each letter is the gold or the predicted label of a text."""
    return score_cats(
        [{label: 1.0} for label in gold],
        [{label: float(label == each) for label in labels} for each in predicted],
        labels,
        exclusive=True,
    )


def compared(*, both: int, only_a: int, only_b: int, neither: int) -> Comparison:
    """A comparison with this many texts of each kind; half have the label A, half B."""
    golds, a, b = "", "", ""
    kinds = ((both, 1, 1), (only_a, 1, 0), (only_b, 0, 1), (neither, 0, 0))
    for number, a_right, b_right in kinds:
        for place in range(number):
            gold, other = "AB" if place % 2 else "BA"
            golds += gold
            a += gold if a_right else other
            b += gold if b_right else other
    return Comparison(evaluation(golds, a), evaluation(golds, b))


def test_texts_are_counted_by_which_classifier_is_correct() -> None:
    comparison = compared(both=5, only_a=2, only_b=3, neither=1)
    assert (comparison.n_both, comparison.n_neither) == (5, 1)
    assert comparison.only_a == (5, 6)
    assert comparison.only_b == (7, 8, 9)


def test_indices_count_unscored_texts() -> None:
    gold: list[dict[str, float]] = [{}, {"A": 1.0}, {}, {"B": 1.0}]
    a, b = [{"A": 1.0, "B": 0.0}] * 4, [{"A": 0.0, "B": 1.0}] * 4
    comparison = Comparison(
        *(score_cats(gold, predicted, "AB", exclusive=True) for predicted in (a, b))
    )
    assert (comparison.only_a, comparison.only_b) == ((1,), (3,))


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [(0, 0, 1.0), (3, 3, 1.0), (0, 1, 1.0), (0, 5, 2 / 2**5), (1, 5, 2 * (1 + 6) / 2**6)],
)
def test_mcnemar_computed_by_hand(only_a: int, only_b: int, expected: float) -> None:
    comparison = compared(both=10, only_a=only_a, only_b=only_b, neither=2)
    assert comparison.mcnemar == pytest.approx(expected)


def test_large_difference_is_significant() -> None:
    comparison = compared(both=300, only_a=5, only_b=60, neither=35)
    assert comparison.better == {"accuracy": "B", "cats_macro_f": "B"}
    accuracy = comparison.differences["accuracy"]
    assert accuracy.value == pytest.approx(55 / 400)
    assert accuracy.p_value < 0.001
    # The difference of each text is -1, 0 or 1.
    spread = np.sqrt((65 / 400 - (55 / 400) ** 2) / 400)
    expected = (accuracy.value - 1.96 * spread, accuracy.value + 1.96 * spread)
    assert accuracy.interval == pytest.approx(expected, abs=0.004)
    turned = Comparison(comparison.b, comparison.a)
    assert turned.better == {"accuracy": "A", "cats_macro_f": "A"}


def test_paired_bootstrap_detects_a_small_difference_despite_overlapping_intervals() -> None:
    comparison = compared(both=500, only_a=2, only_b=14, neither=484)
    low, _ = comparison.b.intervals["accuracy"]
    _, high = comparison.a.intervals["accuracy"]
    assert low < high
    assert comparison.differences["accuracy"].interval[0] > 0
    assert comparison.better["accuracy"] == "B"


def test_small_difference_is_not_significant() -> None:
    comparison = compared(both=300, only_a=30, only_b=36, neither=34)
    assert comparison.better == {"accuracy": None, "cats_macro_f": None}
    low, high = comparison.differences["accuracy"].interval
    assert low < 0 < high
    assert comparison.differences["accuracy"].p_value > 0.3


def test_identical_classifiers_do_not_differ() -> None:
    comparison = compared(both=50, only_a=0, only_b=0, neither=10)
    for difference in comparison.differences.values():
        assert (difference.value, difference.interval, difference.p_value) == (0, (0, 0), 1)
    assert comparison.mcnemar == 1.0
    assert comparison.better == {"accuracy": None, "cats_macro_f": None}


def test_accuracy_and_macro_f_may_disagree() -> None:
    # B never predicts the rare label.
    golds = "A" * 900 + "B" * 40
    a = "A" * 820 + "B" * 80 + "B" * 40
    b = "A" * 900 + "A" * 40
    comparison = Comparison(evaluation(golds, a), evaluation(golds, b))
    assert comparison.better == {"accuracy": "B", "cats_macro_f": "A"}


def test_false_positive_rate_does_not_exceed_the_significance_level() -> None:
    """Of equally good classifiers, about one pair in twenty differs significantly."""
    rng = np.random.default_rng(0)
    small = {"accuracy": 0, "mcnemar": 0}
    for _ in range(40):
        golds = "AB" * 50
        answers = [
            "".join(
                g if right else "BA"["AB".index(g)] for g, right in zip(golds, row, strict=True)
            )
            for row in rng.random((2, 100)) < 0.8
        ]
        comparison = Comparison(*(evaluation(golds, each) for each in answers))
        small["accuracy"] += comparison.differences["accuracy"].p_value < 0.05
        small["mcnemar"] += comparison.mcnemar < 0.05
    assert max(small.values()) <= 6  # binomial(40, 0.05) exceeds it once in 300 times


def test_multi_label_classifiers_are_also_compared_in_micro_f() -> None:
    gold: list[dict[str, float]] = [{"A": 1.0, "B": 0.0}, {"A": 0.0}, {"B": 1.0}] * 10
    of_a = [{"A": 0.9, "B": 0.1}, {"A": 0.2, "B": 0.1}, {"A": 0.2, "B": 0.9}] * 10
    of_b = [{"A": 0.4, "B": 0.1}, {"A": 0.2, "B": 0.1}, {"A": 0.2, "B": 0.9}] * 10
    a, b = (score_cats(gold, predicted, "AB", exclusive=False) for predicted in (of_a, of_b))
    comparison = Comparison(a, b)
    assert list(comparison.differences) == ["accuracy", "cats_macro_f", "cats_micro_f"]
    micro = comparison.differences["cats_micro_f"]
    assert (micro.a, micro.b) == (1.0, pytest.approx(2 / 3))
    assert comparison.better == {"accuracy": "A", "cats_macro_f": "A", "cats_micro_f": "A"}


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        # As p.adjust(..., method = "holm") in R.
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.005, 0.03], [0.06, 0.015, 0.06]),
        ([0.046, 0.125], [0.092, 0.125]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_correction_of_known_values(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_difference_that_is_significant_only_without_the_correction_does_not_count() -> None:
    comparison = compared(both=80, only_a=3, only_b=10, neither=7)
    accuracy, macro_f = comparison.tests["accuracy"], comparison.tests["cats_macro_f"]
    assert accuracy.p_value == comparison.mcnemar
    assert macro_f.p_value == comparison.differences["cats_macro_f"].p_value
    assert macro_f.p_value < 0.05 < accuracy.p_value
    assert macro_f.corrected_p_value == 2 * macro_f.p_value
    assert [accuracy.better, macro_f.better] == ["B", "B"]
    assert comparison.better == {"accuracy": None, "cats_macro_f": None}


@given(st.lists(st.tuples(*[st.sampled_from("AB")] * 3), min_size=1, max_size=20))
@settings(max_examples=15)
def test_swapping_the_classifiers_swaps_the_signs(rows: list[tuple[str, str, str]]) -> None:
    golds, of_a, of_b = ("".join(column) for column in zip(*rows, strict=True))
    a, b = evaluation(golds, of_a), evaluation(golds, of_b)
    one, other = Comparison(a, b), Comparison(b, a)
    assert one.n_both + one.n_neither + len(one.only_a) + len(one.only_b) == len(rows)
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)
    assert one.mcnemar == other.mcnemar
    for name, difference in one.differences.items():
        assert difference.value == -other.differences[name].value
        assert 0 < difference.p_value <= 1
    found = one.as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_evaluations_on_different_texts_cannot_be_compared() -> None:
    for other in (
        evaluation("AA", "AB"),
        evaluation("ABB", "ABB"),
        evaluation("AB", "AB", labels="ABC"),
    ):
        with pytest.raises(ValueError, match="the same gold records"):
            Comparison(evaluation("AB", "AB"), other)


@pytest.mark.parametrize(
    ("labels", "exclusive", "message"),
    [
        (("A", "C"), True, "The pipelines have different labels: A (old) has B, B (new) doesn't"),
        (
            ("A", "B", "C"),
            True,
            "The pipelines have different labels: B (new) has C, A (old) doesn't",
        ),
        (
            ("B", "A"),
            False,
            "A (old) predicts exactly one label per text, B (new) any number of labels",
        ),
    ],
)
def test_classifiers_with_different_labels_cannot_be_compared(
    labels: tuple[str, ...], exclusive: bool, message: str
) -> None:
    with pytest.raises(PipelineError) as error:
        check_comparable(
            Classifier("a", ("A", "B"), True), Classifier("b", labels, exclusive), names=NAMES
        )
    assert error.value.message == message
    assert error.value.hint


def test_order_of_labels_does_not_matter() -> None:
    check_comparable(
        Classifier("a", ("A", "B"), True), Classifier("b", ("B", "A"), True), names=NAMES
    )


def test_error_lists_only_a_few_missing_labels() -> None:
    many: Any = tuple(f"L{number}" for number in range(77))
    with pytest.raises(PipelineError, match=r"has L1, L2, L3, L4, L5 and 71 more, B"):
        check_comparable(Classifier("a", many, True), Classifier("b", ("L0",), True), names=NAMES)
