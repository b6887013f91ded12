import numpy as np
import pytest

from trfcli_pipeline.curation.transitions import (
    confident_joint,
    estimate_transitions,
    posterior,
)


def test_confident_joint_is_that_of_the_paper() -> None:
    # Thresholds: 0.6 for the first class, 0.75 for the second.
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6]])
    given = np.array([0, 0, 0, 1, 1])
    # The last text is confident in no class, so its count goes to the other one of its label.
    np.testing.assert_allclose(confident_joint(scores, given), [[2, 1], [0, 2]])


def test_class_without_texts_or_confident_scores_is_taken_as_correct() -> None:
    scores = np.array([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0]])
    joint = confident_joint(scores, np.array([0, 1]))
    assert joint.sum() == pytest.approx(2)
    assert np.isfinite(joint).all()
    transitions = estimate_transitions(scores, np.array([0, 1]))
    np.testing.assert_allclose(transitions.sum(axis=0), 1)


def test_posterior_is_bayes_rule() -> None:
    transitions = np.array([[0.9, 0.3], [0.1, 0.7]])
    found = posterior(np.array([[0.5, 0.5]]), np.array([0]), transitions)
    np.testing.assert_allclose(found, [[0.75, 0.25]])


def test_frequent_transition_is_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=900)
    given = np.where((true == 0) & (rng.random(900) < 0.4), 1, true)
    scores = np.full((900, 3), 0.05)
    scores[np.arange(900), true] = 0.9
    transitions = estimate_transitions(scores, given)
    assert 0.2 < transitions[1, 0] < 0.45
    assert transitions[2, 0] < transitions[1, 0]
    assert transitions[2, 2] > 0.9


def test_single_class_has_no_errors() -> None:
    assert estimate_transitions(np.ones((4, 1)), np.zeros(4, dtype=int)).tolist() == [[1.0]]
