import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trfcli_pipeline.heads.initialization import Loss, Matrix, linear_probe_weights, prior_bias


def test_priors_are_the_frequencies_of_labels() -> None:
    cats = [{"A": 1.0, "B": 0.0, "RARE": 0.0}] * 3 + [{"A": 0.0, "B": 1.0, "RARE": 0.0}]
    bias = prior_bias(cats, ["A", "B", "RARE", "UNKNOWN"])
    assert 1 / (1 + np.exp(-bias)) == pytest.approx([0.75, 0.25, 0.01, 0.5])


def softmax_loss(targets: Matrix) -> Loss:
    def loss(logits: Matrix) -> tuple[float, Matrix]:
        logs = logits - logits.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        return -float((targets * logs).sum()), np.exp(logs) - targets

    return loss


def sigmoid_loss(targets: Matrix) -> Loss:
    def loss(logits: Matrix) -> tuple[float, Matrix]:
        costs = np.logaddexp(0, logits) - targets * logits
        return float(costs.sum()), 1 / (1 + np.exp(-logits)) - targets

    return loss


def sample(n_texts: int, width: int, n_labels: int) -> tuple[Matrix, Matrix]:
    generator = np.random.default_rng(n_labels)
    features = generator.normal(size=(n_texts, width))
    numbers = (features[:, :n_labels] + generator.normal(size=(n_texts, n_labels))).argmax(axis=1)
    return features, numbers


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_probe_of_exclusive_classes_matches_scikit_learn(scale: float) -> None:
    features, numbers = sample(80, 6, 3)
    features /= np.linalg.norm(features, axis=1).mean()
    weights, bias = linear_probe_weights(scale * features, softmax_loss(np.eye(3)[numbers]), 3)
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, numbers)
    found = softmax(scale * features @ weights.T + bias)
    assert weights.dtype == bias.dtype == np.float32
    assert found == pytest.approx(expected.predict_proba(features), abs=1e-3)


def test_probe_of_independent_classes_matches_scikit_learn() -> None:
    features, numbers = sample(60, 5, 2)
    features /= np.linalg.norm(features, axis=1).mean()
    truths = np.stack([numbers == 0, features[:, 3] > 0.2], axis=1).astype(float)
    weights, bias = linear_probe_weights(features, sigmoid_loss(truths), 2)
    found = 1 / (1 + np.exp(-(features @ weights.T + bias)))
    for column, truth in enumerate(truths.T):
        expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, truth)
        assert found[:, column] == pytest.approx(expected.predict_proba(features)[:, 1], abs=1e-3)


def test_probe_of_zero_features_predicts_the_priors() -> None:
    weights, bias = linear_probe_weights(np.zeros((4, 3)), softmax_loss(np.eye(2)[[0, 0, 0, 1]]), 2)
    assert not weights.any()
    assert softmax(bias[None])[0] == pytest.approx([0.75, 0.25], abs=1e-3)


def softmax(logits: Matrix) -> Matrix:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
