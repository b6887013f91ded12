import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trfcli_pipeline.encoder.activations import Floats
from trfcli_pipeline.heads.linear_probe import Loss, fit_probe


def softmax_loss(targets: Floats) -> Loss:
    def loss(logits: Floats) -> tuple[float, Floats]:
        logs = logits - logits.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        return -float((targets * logs).sum()), np.exp(logs) - targets

    return loss


def sigmoid_loss(targets: Floats) -> Loss:
    def loss(logits: Floats) -> tuple[float, Floats]:
        costs = np.logaddexp(0, logits) - targets * logits
        return float(costs.sum()), 1 / (1 + np.exp(-logits)) - targets

    return loss


def drawn(n_texts: int, width: int, n_labels: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(n_labels)
    features = generator.normal(size=(n_texts, width))
    numbers = (features[:, :n_labels] + generator.normal(size=(n_texts, n_labels))).argmax(axis=1)
    return features, numbers


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_exclusive_classes_as_by_scikit_learn(scale: float) -> None:
    features, numbers = drawn(80, 6, 3)
    features /= np.linalg.norm(features, axis=1).mean()
    weights, bias = fit_probe(scale * features, softmax_loss(np.eye(3)[numbers]), 3)
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, numbers)
    found = softmax(scale * features @ weights.T + bias)
    assert weights.dtype == bias.dtype == np.float32
    assert found == pytest.approx(expected.predict_proba(features), abs=1e-3)


def test_independent_classes_as_by_scikit_learn() -> None:
    features, numbers = drawn(60, 5, 2)
    features /= np.linalg.norm(features, axis=1).mean()
    truths = np.stack([numbers == 0, features[:, 3] > 0.2], axis=1).astype(float)
    weights, bias = fit_probe(features, sigmoid_loss(truths), 2)
    found = 1 / (1 + np.exp(-(features @ weights.T + bias)))
    for column, truth in enumerate(truths.T):
        expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(features, truth)
        assert found[:, column] == pytest.approx(expected.predict_proba(features)[:, 1], abs=1e-3)


def test_features_of_nothing_leave_the_shares_of_the_classes() -> None:
    weights, bias = fit_probe(np.zeros((4, 3)), softmax_loss(np.eye(2)[[0, 0, 0, 1]]), 2)
    assert not weights.any()
    assert softmax(bias[None])[0] == pytest.approx([0.75, 0.25], abs=1e-3)


def softmax(logits: Floats) -> Floats:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
