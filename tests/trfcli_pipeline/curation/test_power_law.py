import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation.power_law import TYPICAL_EXPONENT, fit_power_laws, fit_scales

SIZES = np.array([50, 80, 130, 210, 340, 550])


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.1, 2.0, 0.5), (0.0, 3.0, 0.4)])
def test_a_curve_without_noise_is_extended_to_twice_the_texts(
    floor: float, scale: float, exponent: float
) -> None:
    laws = fit_power_laws(SIZES, (floor + scale * SIZES**-exponent)[np.newaxis])
    expected = floor + scale * 1100.0**-exponent
    assert laws.errors(1100)[0] == pytest.approx(expected, abs=0.005)


def test_a_flat_curve_stays_flat() -> None:
    laws = fit_power_laws(SIZES, np.full((1, 6), 0.25))
    assert laws.scale[0] == pytest.approx(0, abs=1e-9)
    assert laws.errors(10_000)[0] == pytest.approx(0.25)


def test_curves_are_fitted_independently() -> None:
    errors = np.stack([0.1 + 2 * SIZES**-0.5, 0.3 + 1 * SIZES**-0.7])
    together, alone = fit_power_laws(SIZES, errors), fit_power_laws(SIZES, errors[1:])
    assert together.errors(1000)[1] == alone.errors(1000)[0]


def test_two_points_have_the_typical_exponent() -> None:
    laws = fit_power_laws([100, 200], np.array([[0.4, 0.3]]))
    assert laws.exponent[0] == pytest.approx(TYPICAL_EXPONENT, rel=0.1)


def test_scales_for_known_exponents() -> None:
    errors = np.stack([0.2 + 1.5 * SIZES**-0.5, 0.1 + 2.0 * SIZES**-0.3])
    laws = fit_scales(SIZES, errors, np.array([0.5, 0.3]))
    np.testing.assert_allclose(laws.floor, [0.2, 0.1], atol=1e-9)
    np.testing.assert_allclose(laws.scale, [1.5, 2.0], atol=1e-9)


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_the_error_never_rises_and_is_never_negative(errors: list[float]) -> None:
    laws = fit_power_laws(SIZES, np.array([errors]))
    predicted = [laws.errors(n)[0] for n in (50, 550, 1100, 100_000)]
    assert predicted == sorted(predicted, reverse=True)
    assert predicted[-1] >= 0
