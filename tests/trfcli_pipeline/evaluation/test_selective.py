import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from trfcli_pipeline.evaluation.selective import (
    accuracy_bound,
    choose_for_accuracy,
    choose_for_coverage,
    risk_coverage,
    share_interval,
)


def test_curve_computed_by_hand() -> None:
    # The two texts in the middle are answered together.
    confidence = np.array([0.5, 0.9, 0.7, 0.7])
    correct = np.array([False, True, False, True])
    curve = risk_coverage(confidence, correct)
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk == pytest.approx(np.array([0.0, 1 / 3, 0.5]))
    assert curve.area == pytest.approx(0.5 / 3 + 0.25 * 0.5)
    assert curve.accuracy_at(0.25) == 1.0
    # As many texts as that aren't answered without the others of the same confidence.
    assert curve.accuracy_at(0.5) == pytest.approx(2 / 3)
    assert curve.accuracy_at(1.0) == 0.5


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.8, 0.9]), st.booleans()), min_size=1),
    st.randoms(use_true_random=False),
)
def test_curve_does_not_depend_on_the_order(rows: list[tuple[float, bool]], rng: object) -> None:
    shuffled = [*rows]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        risk_coverage(*map(np.array, zip(*each, strict=True))) for each in (rows, shuffled)
    )
    assert one.coverage.tolist() == other.coverage.tolist()
    assert one.risk.tolist() == other.risk.tolist()
    assert one.risk[-1] == pytest.approx(np.mean([not right for _, right in rows]))


@given(st.integers(0, 200), st.integers(1, 200))
def test_bound_is_that_of_the_binomial_distribution(correct: int, answered: int) -> None:
    correct = min(correct, answered)
    bound = accuracy_bound(correct, answered, failure=0.1)
    # With an accuracy as low as the bound, so many correct answers have a probability of 10 %.
    assert (
        bound == pytest.approx(0.0)
        if not correct
        else binom.sf(correct - 1, answered, bound) == pytest.approx(0.1)
    )
    low, high = share_interval(correct, answered)
    assert 0.0 <= low <= correct / answered <= high <= 1.0


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.01, 1.0))
def test_coverage_is_at_least_the_chosen_one(values: list[float], coverage: float) -> None:
    confidence = np.array(values)
    least = choose_for_coverage(confidence, coverage)
    assert (confidence >= least).mean() >= coverage - 1e-9
    if coverage == 1.0:
        assert least == 0.0


def test_no_more_texts_than_needed_are_answered() -> None:
    least = choose_for_coverage(np.arange(100) / 100, 0.9)
    assert least == pytest.approx(0.095)


def draw(rng: np.random.Generator, number: int, *, hardest: float) -> tuple[np.ndarray, np.ndarray]:
    """Texts whose answers are correct with a probability from `hardest` to 1."""
    confidence = rng.uniform(hardest, 1.0, number)
    return confidence, rng.random(number) < confidence


def test_promised_accuracy_is_kept_in_nine_of_ten_draws() -> None:
    rng, broken, answered = np.random.default_rng(0), 0, []
    for _ in range(300):
        least = choose_for_accuracy(*draw(rng, 500, hardest=0.7), 0.9)
        if least is not None:
            # Answers with a confidence from `least` to 1 are correct on average in:
            broken += (max(least, 0.7) + 1.0) / 2 < 0.9
            answered.append((1.0 - max(least, 0.7)) / 0.3)
    assert broken <= 0.1 * 300 + 15
    # At best two thirds of the texts can be answered, but 500 texts don't always show that.
    assert len(answered) > 200
    assert np.mean(answered) > 0.35


def test_all_texts_are_answered_if_that_is_accurate_enough() -> None:
    correct = np.arange(1000) >= 5
    assert choose_for_accuracy(np.linspace(0.5, 1.0, 1000), correct, 0.98) == 0.0


def test_no_threshold_without_evidence() -> None:
    # All are correct, but with 40 texts nobody knows if that is 99 %.
    assert choose_for_accuracy(np.linspace(0.5, 1.0, 40), np.full(40, True), 0.99) is None
    rng = np.random.default_rng(0)
    assert choose_for_accuracy(rng.random(1000), rng.random(1000) < 0.5, 0.9) is None


def test_classifier_that_is_right_about_a_few_texts_only() -> None:
    confidence = np.linspace(0.0, 1.0, 4000)
    correct = (confidence > 0.8) | (np.arange(4000) % 2 == 0)
    least = choose_for_accuracy(confidence, correct, 0.97)
    assert least is not None
    assert 0.75 < least < 0.85
