import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trfcli_pipeline.heads.log_odds import log_odds

LOGITS = arrays(np.float32, (2, 3), elements=st.floats(-8, 8, width=32))


def probabilities(logits: np.ndarray, *, exclusive: bool) -> np.ndarray:
    if not exclusive:
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


@given(LOGITS, st.integers(0, 2), st.booleans())
def test_values_are_those_of_the_probability(
    logits: np.ndarray, label: int, exclusive: bool
) -> None:
    values, _ = log_odds(logits, label, exclusive=exclusive)
    p = probabilities(logits.astype(np.float64), exclusive=exclusive)[:, label]
    assert values == pytest.approx(np.log(p) - np.log1p(-p), abs=1e-6)


@given(LOGITS, st.integers(0, 2), st.booleans())
def test_gradient_is_the_slope(logits: np.ndarray, label: int, exclusive: bool) -> None:
    exact = logits.astype(np.float64)
    _, gradient = log_odds(exact, label, exclusive=exclusive)
    for column in range(3):
        step = np.zeros(3)
        step[column] = 1e-4
        above, _ = log_odds(exact + step, label, exclusive=exclusive)
        below, _ = log_odds(exact - step, label, exclusive=exclusive)
        assert gradient[:, column] == pytest.approx((above - below) / 2e-4, abs=1e-6)


def test_extreme_logits_do_not_saturate() -> None:
    values, gradient = log_odds(np.array([[900.0, -100.0, -100.0]]), 0, exclusive=True)
    assert values[0] == pytest.approx(1000 - np.log(2))
    assert gradient.tolist() == [[1.0, -0.5, -0.5]]
