import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.evaluation.conformal import fit_threshold, label_sets, missed_shares


def draw(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of ten labels, and gold labels drawn by them."""
    probabilities = rng.dirichlet(np.full(10, 0.2), number)
    columns = (probabilities.cumsum(axis=1) > rng.random((number, 1))).argmax(axis=1)
    return probabilities, np.arange(10) == columns[:, np.newaxis]


def test_coverage_on_new_texts() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        threshold = fit_threshold(*draw(rng, 150), exclusive=True, coverage=0.9)
        probabilities, gold = draw(rng, 500)
        sets = label_sets(probabilities, threshold, exclusive=True)
        found.append(1.0 - missed_shares(sets, gold).mean())
    # The mean over draws of both parts is between 0.9 and 0.9 + 1/151.
    assert np.mean(found) == pytest.approx(0.903, abs=0.005)


def test_threshold_is_the_quantile_of_split_conformal_prediction() -> None:
    rng = np.random.default_rng(1)
    probabilities, gold = draw(rng, 100)
    threshold = fit_threshold(probabilities, gold, exclusive=True, coverage=0.9)
    # Angelopoulos and Bates 2023, section 1: the score is 1 - p of the gold label, unless it is the
    # label with the highest probability, which is always in the set.
    scores = 1.0 - np.where(
        probabilities.argmax(axis=1) == gold.argmax(axis=1), 1.0, probabilities[gold]
    )
    quantile = np.sort(scores)[int(np.ceil(101 * 0.9)) - 1]
    assert threshold == pytest.approx(1.0 - quantile)


def test_several_labels_per_text() -> None:
    rng, found = np.random.default_rng(0), []

    def draw_several(number: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities = rng.beta(0.3, 1.0, (number, 5))
        return probabilities, rng.random((number, 5)) < probabilities

    for _ in range(200):
        threshold = fit_threshold(*draw_several(150), exclusive=False, coverage=0.8)
        probabilities, gold = draw_several(300)
        sets = label_sets(probabilities, threshold, exclusive=False)
        found.append(1.0 - missed_shares(sets, gold).mean())
    assert np.mean(found) == pytest.approx(0.805, abs=0.008)


@given(st.integers(1, 60), st.integers(0, 1000), st.sampled_from([0.5, 0.9, 0.95]))
def test_enough_is_covered_of_the_texts_themselves(number: int, seed: int, coverage: float) -> None:
    probabilities, gold = draw(np.random.default_rng(seed), number)
    threshold = fit_threshold(probabilities, gold, exclusive=True, coverage=coverage)
    sets = label_sets(probabilities, threshold, exclusive=True)
    assert missed_shares(sets, gold).sum() + 1 <= (1 - coverage) * (number + 1) + 1e-6 or sets.all()
    assert sets.any(axis=1).all()


def test_too_few_texts_for_anything_but_all_labels() -> None:
    probabilities, gold = draw(np.random.default_rng(0), 10)
    assert fit_threshold(probabilities, gold, exclusive=True, coverage=0.95) == 0.0


def test_most_probable_label_suffices() -> None:
    probabilities = np.tile([0.6, 0.4], (100, 1))
    gold = np.tile([True, False], (100, 1))
    threshold = fit_threshold(probabilities, gold, exclusive=True)
    assert label_sets(probabilities, threshold, exclusive=True).tolist() == gold.tolist()


def test_texts_without_labels_miss_nothing() -> None:
    sets, gold = np.array([[False, True], [True, False]]), np.array([[False, False], [True, True]])
    assert missed_shares(sets, gold).tolist() == [0.0, 0.5]
