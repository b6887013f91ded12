import numpy as np
import pytest

from trfcli_pipeline.heads.class_scores import class_scores


def test_scores_of_exclusive_classes_are_softmax() -> None:
    logits = np.array([[0.0, np.log(3.0)], [200.0, -200.0]], dtype="f")
    scores = class_scores(True).predict(logits)
    np.testing.assert_allclose(scores, [[0.25, 0.75], [1.0, 0.0]], rtol=1e-6)


def test_scores_of_independent_classes_are_sigmoids() -> None:
    logits = np.array([[0.0, np.log(3.0)], [50.0, -50.0]], dtype="f")
    scores = class_scores(False).predict(logits)
    np.testing.assert_allclose(scores, [[0.5, 0.75], [1.0, 0.0]], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_backward_pass_is_the_identity(exclusive: bool) -> None:
    _, backprop = class_scores(exclusive).begin_update(np.zeros((2, 3), "f"))
    gradient = np.arange(6, dtype="f").reshape(2, 3)
    np.testing.assert_array_equal(backprop(gradient), gradient)
