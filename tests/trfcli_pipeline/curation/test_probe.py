import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import Probe, fit_probe, log_loss

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(80, 5)).astype(np.float32)
FEATURES /= np.linalg.norm(FEATURES, axis=1, keepdims=True)
CLASSES = (FEATURES[:, 0] > 0).astype(int) + (FEATURES[:, 1] > 0.3)


def exclusive(classes: np.ndarray, n_labels: int = 3) -> Gold:
    return Gold(tuple("ABC"[:n_labels]), np.eye(n_labels)[classes], exclusive=True)


def multilabel(values: np.ndarray) -> Gold:
    return Gold(tuple("ABC"[: values.shape[1]]), values, exclusive=False)


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_probe_equals_logistic_regression(penalty: float) -> None:
    probe = fit_probe(FEATURES, exclusive(CLASSES), penalty=penalty)
    peer = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(FEATURES, CLASSES)
    np.testing.assert_allclose(probe.predict(FEATURES), peer.predict_proba(FEATURES), atol=0.01)


def test_multilabel_probe_equals_one_logistic_regression_per_label() -> None:
    values = np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(float)
    scores = fit_probe(FEATURES, multilabel(values), penalty=0.5).predict(FEATURES)
    for column in range(2):
        peer = LogisticRegression(C=2, tol=1e-8, max_iter=1000).fit(FEATURES, values[:, column])
        np.testing.assert_allclose(scores[:, column], peer.predict_proba(FEATURES)[:, 1], atol=0.01)


def test_unknown_labels_are_ignored() -> None:
    values = np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(float)
    unknown = values.copy()
    unknown[40:, 1] = np.nan
    probe = fit_probe(FEATURES, multilabel(unknown), penalty=1.0)
    expected = fit_probe(FEATURES[:40], multilabel(values[:40]), penalty=1.0)
    # Features are scaled by their mean length, which is 1 for both.
    np.testing.assert_allclose(probe.weights[1], expected.weights[1], atol=0.02)
    assert not np.allclose(probe.weights[0], expected.weights[0], atol=0.02)


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_weight_of_a_text_counts_like_copies_of_it(is_exclusive: bool) -> None:
    gold = exclusive(CLASSES) if is_exclusive else multilabel(np.eye(3)[CLASSES])
    weights = RNG.integers(0, 3, len(FEATURES)).astype(float)
    copies = np.repeat(np.arange(len(FEATURES)), weights.astype(int))
    weighted = fit_probe(FEATURES, gold, penalty=1.0, weights=weights)
    repeated = fit_probe(FEATURES[copies], gold.take(copies), penalty=1.0)
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=0.03)


def test_probabilities_can_be_targets() -> None:
    """A text that is half of each label counts like half a text of one, half one of the other."""
    halves = Gold(("A", "B"), np.array([[0.5, 0.5], [1, 0], [0, 1]]), exclusive=True)
    features = FEATURES[[0, 1, 2]]
    twice = Gold(("A", "B"), np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]]), exclusive=True)
    one = fit_probe(features, halves, penalty=0.3)
    other = fit_probe(
        features[[0, 0, 1, 2]], twice, penalty=0.3, weights=np.array([0.5, 0.5, 1, 1])
    )
    np.testing.assert_allclose(one.weights, other.weights, atol=0.01)


def test_start_only_saves_time() -> None:
    gold = exclusive(CLASSES)
    strong = fit_probe(FEATURES, gold, penalty=10.0)
    warm = fit_probe(FEATURES, gold, penalty=0.3, start=strong)
    cold = fit_probe(FEATURES, gold, penalty=0.3)
    np.testing.assert_allclose(warm.predict(FEATURES), cold.predict(FEATURES), atol=0.01)


def test_predictions_are_a_softmax_or_sigmoids() -> None:
    weights, bias = RNG.normal(size=(3, 5)).astype(np.float32), np.zeros(3, np.float32)
    logits = FEATURES @ weights.T
    np.testing.assert_allclose(
        Probe(weights, bias, exclusive=True).predict(FEATURES), softmax(logits, axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(
        Probe(weights, bias, exclusive=False).predict(FEATURES), expit(logits), rtol=1e-5
    )


def test_log_loss() -> None:
    scores = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    expected = -(np.log(0.5) + np.log(0.8)) / 2
    assert log_loss(scores, exclusive(np.array([0, 1]))) == pytest.approx(expected)
    unknown = multilabel(np.array([[1, 0, np.nan], [np.nan] * 3]))
    expected = -(np.log(0.5) + np.log(0.75)) / 2
    assert log_loss(scores, unknown) == pytest.approx(expected)
    assert np.isfinite(log_loss(np.array([[0.0, 1.0]]), multilabel(np.array([[1.0, 0.0]]))))
