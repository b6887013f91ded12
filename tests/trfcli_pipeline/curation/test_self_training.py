import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe
from trfcli_pipeline.curation.self_training import (
    SelfTraining,
    calibrated_loss,
    compare_self_training,
    self_train,
)
from trfcli_pipeline.evaluation.temperature import calibrate

GOLD = Gold(("A", "B"), np.eye(2)[np.arange(12) % 2], exclusive=True)


def clusters(n: int, seed: int, gap: float = 2.0) -> Features:
    """Points of two clusters in turn, which lie along a direction of large variance."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, 8)) * [0.4, 3, 1, 1, 1, 1, 1, 1]
    points[:, 0] += gap * (np.arange(n) % 2 - 0.5)
    return points.astype(np.float32)


def accuracy(features: Features, unlabeled: Features | None) -> float:
    test = clusters(2000, seed=9)
    if unlabeled is None:
        probe = fit_probe(features, GOLD, penalty=0.1)
    else:
        probe = self_train(features, GOLD, unlabeled)
    return float((probe.predict(test).argmax(axis=1) == np.arange(2000) % 2).mean())


def test_clusters_of_unlabeled_texts_help() -> None:
    features, unlabeled = clusters(12, seed=0), clusters(1000, seed=1)
    assert accuracy(features, unlabeled) > accuracy(features, None)


def test_what_helps_is_found_by_cross_fitting() -> None:
    texts = [f"text {number}" for number in range(12)]
    found = compare_self_training(texts, clusters(12, seed=0), GOLD, clusters(1000, seed=1))
    assert found.n_unlabeled == 1000
    assert found.helps == (round(found.after, 3) < round(found.before, 3))
    assert 0 <= found.score_before <= 1


@pytest.mark.parametrize(
    ("before", "after", "helps"), [(1.2834, 1.2826, False), (1.2836, 1.2824, True), (1, 2, False)]
)
def test_differences_that_do_not_show_do_not_count(
    before: float, after: float, helps: bool
) -> None:
    probe = fit_probe(clusters(12, seed=0), GOLD, penalty=0.1)
    assert SelfTraining(probe, 1, before, after, 0.5, 0.5).helps == helps


def test_unlabeled_texts_that_say_nothing_do_not_help() -> None:
    # All unlabeled texts are at one place, where the probe is wrong about half of the labels.
    features = clusters(12, seed=0, gap=8)
    unlabeled = np.tile(features[:1] - 20, (500, 1))
    texts = [f"text {number}" for number in range(12)]
    assert not compare_self_training(texts, features, GOLD, unlabeled).helps


@given(
    st.lists(st.floats(0.01, 0.99), min_size=2, max_size=5),
    st.floats(0.3, 3),
    st.booleans(),
)
def test_sharpening_keeps_probabilities_and_their_order(
    scores: list[float], temperature: float, exclusive: bool
) -> None:
    row = np.array([scores])
    if exclusive:
        row /= row.sum()
    found = calibrate(row, temperature, exclusive=exclusive)
    assert ((found >= 0) & (found <= 1)).all()
    if exclusive:
        assert found.sum() == pytest.approx(1)
    assert (np.argsort(found, kind="stable") == np.argsort(row, kind="stable")).all() or (
        np.ptp(row) < 1e-6
    )


def test_a_temperature_of_1_changes_nothing() -> None:
    row = np.array([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(calibrate(row, 1.0, exclusive=True), row)
    np.testing.assert_allclose(calibrate(row, 1.0, exclusive=False), row)


def test_the_loss_ignores_overconfidence() -> None:
    scores = np.tile([[0.8, 0.2], [0.2, 0.8], [0.8, 0.2], [0.2, 0.8], [0.7, 0.3]], (4, 1))
    gold = Gold(("A", "B"), np.tile(np.eye(2)[[0, 1, 0, 1, 1]], (4, 1)), exclusive=True)
    confident = calibrate(scores, 0.5, exclusive=True)
    assert calibrated_loss(confident, gold) == pytest.approx(
        calibrated_loss(scores, gold), abs=0.01
    )
