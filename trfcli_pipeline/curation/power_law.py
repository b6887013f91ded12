"""Power laws of learning curves: how the error of a classifier falls with the number of texts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# Exponents to choose from.
EXPONENTS = np.geomspace(0.05, 2, 40)
# The exponent before anything is measured, and the standard deviation of its logarithm.
TYPICAL_EXPONENT, EXPONENT_SPREAD = 0.45, 0.4
# Standard deviation of a measured error at the largest number of texts. It decides how much the
# measurements count against the typical exponent.
_NOISE = 0.01


@dataclass(frozen=True, eq=False)
class PowerLaws:
    """Power laws `error = floor + scale * n ** -exponent`, one per learning curve.

    The form is that of Cortes et al. 1993, "Learning Curves: Asymptotic Values and Rate of
    Convergence", equation 1.

    Attributes:
        floor: The error with endless texts. *Shape:* (curves,)
        scale: Not negative. *Shape:* (curves,)
        exponent: *Shape:* (curves,)
    """

    floor: FloatArray
    scale: FloatArray
    exponent: FloatArray

    def errors(self, n_texts: float) -> FloatArray:
        """The error with some number of texts. *Shape:* (curves,)"""
        found: FloatArray = self.floor + self.scale * n_texts**-self.exponent
        return found


def fit_power_laws(
    sizes: ArrayLike, errors: FloatArray, typical: float | FloatArray = TYPICAL_EXPONENT
) -> PowerLaws:
    """Fit a power law to each of several learning curves by weighted least squares.

    A size's weight is proportional to its number of texts: errors vary less between large training
    sets, and we extrapolate from there. A handful of sizes hardly determines the exponent, so an
    unusual one costs more. Floor and scale are never negative.

    Args:
        sizes: Numbers of texts. *Shape:* (sizes,)
        errors: Measured errors from 0 to 1. *Shape:* (curves, sizes)
        typical: The exponent that costs nothing, for each curve.
    """
    numbers = np.asarray(sizes, dtype=np.float64)
    weights = numbers / numbers.max() / _NOISE**2
    costs, floors, scales = [], [], []
    for exponent in EXPONENTS:
        floor, scale = _fit_line(numbers**-exponent, errors, weights)
        residuals = errors - floor[:, np.newaxis] - np.outer(scale, numbers**-exponent)
        surprise = np.log(exponent / typical) / EXPONENT_SPREAD
        costs.append((residuals**2) @ weights + surprise**2)
        floors.append(floor)
        scales.append(scale)
    best, curves = np.argmin(costs, axis=0), np.arange(len(errors))
    return PowerLaws(
        np.array(floors)[best, curves], np.array(scales)[best, curves], EXPONENTS[best]
    )


def fit_scales(sizes: ArrayLike, errors: FloatArray, exponents: FloatArray) -> PowerLaws:
    """Fit floor and scale of power laws whose exponents are known; see `fit_power_laws`.

    Args:
        exponents: *Shape:* (curves,)
    """
    numbers = np.asarray(sizes, dtype=np.float64)
    floor, scale = np.empty(len(errors)), np.empty(len(errors))
    for exponent in np.unique(exponents):
        chosen = exponents == exponent
        floor[chosen], scale[chosen] = _fit_line(numbers**-exponent, errors[chosen], numbers)
    return PowerLaws(floor, scale, exponents)


def _fit_line(
    x: FloatArray, errors: FloatArray, weights: NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Fit `floor + scale * x` with neither of them negative. *Shapes:* (curves,)"""
    total = weights.sum()
    center, means = weights @ x / total, errors @ weights / total
    spread = weights @ (x - center) ** 2
    scale = np.maximum(errors @ (weights * (x - center)) / spread, 0.0)
    floor = means - scale * center
    # A line through the origin is the best one if the floor would be negative.
    through_origin = errors @ (weights * x) / (weights @ x**2)
    return np.maximum(floor, 0.0), np.where(floor < 0, through_origin, scale)
