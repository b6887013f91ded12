import numpy as np
import pytest

from trfcli_pipeline.curation.baseline import bag_of_words
from trfcli_pipeline.curation.cross_fitting import linear_probe
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.learning_curve import (
    cross_fitted_draws,
    curve_sizes,
    measure_curve,
)
from trfcli_pipeline.curation.separability import Separability, compare_with_words

CLASSES = np.arange(120) % 2
GOLD = Gold(("HAM", "SPAM"), np.eye(2)[CLASSES], exclusive=True)
WORDS = [f"{'prize' if each else 'meeting'} number {place}" for place, each in enumerate(CLASSES)]
GOOD = (np.eye(2)[CLASSES] + 0.1 * np.random.default_rng(0).random((120, 2))).astype(np.float32)
NOISE = np.random.default_rng(1).random((120, 2)).astype(np.float32)


def compare(features: Features, texts: list[str]) -> Separability:
    draws = cross_fitted_draws(texts, GOLD)
    sizes = curve_sizes(draws)
    curve = measure_curve(
        linear_probe(features, GOLD, penalty=1.0), GOLD, draws, sizes, "Measuring"
    )
    return compare_with_words(curve, texts, GOLD, draws)


def test_an_encoder_that_separates_the_labels_needs_no_warning() -> None:
    found = compare(GOOD, [f"text {place}" for place in range(120)])
    assert found.encoder.value == 1
    assert found.warning is None


def test_a_bag_of_words_that_is_ahead() -> None:
    found = compare(NOISE, WORDS)
    assert found.words.value == 1
    assert found.words_are_ahead
    assert found.warning is not None
    assert found.warning.startswith("A bag of words predicts these labels better")


def test_an_encoder_that_separates_the_labels_poorly() -> None:
    found = compare(NOISE, [f"text {place}" for place in range(120)])
    assert found.is_poor
    assert not found.words_are_ahead
    assert found.warning is not None
    assert "hardly separates these labels" in found.warning
    assert found.chance == pytest.approx(0.5)


def test_texts_without_words_are_predicted_at_random() -> None:
    fit_predict = bag_of_words(["!"] * 120, GOLD)
    assert fit_predict(np.arange(60), np.arange(60, 120)).shape == (60, 2)


def test_a_label_that_no_known_text_has_is_never_predicted() -> None:
    values = np.zeros((40, 2))
    values[:, 0], values[20:, 1] = 1, 1
    gold = Gold(("A", "B"), values, exclusive=False)
    scores = bag_of_words(WORDS[:40], gold)(np.arange(20), np.arange(20, 40))
    assert scores[:, 0].tolist() == [1] * 20
    assert scores[:, 1].tolist() == [0] * 20
