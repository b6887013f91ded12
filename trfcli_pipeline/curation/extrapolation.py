"""Scores at other numbers of texts than those measured, with bootstrap bands."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.learning_curve import LearningCurve
from trfcli_pipeline.curation.power_law import (
    EXPONENT_SPREAD,
    TYPICAL_EXPONENT,
    PowerLaws,
    fit_power_laws,
    fit_scales,
)
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

RESAMPLES = 500
# The share of true scores that should be within a band.
COVERAGE = 0.8
# Learning curves aren't exactly power laws. This is the standard deviation of a gain beyond the
# texts at hand, as a share of the gain: chosen so that bands have the coverage that they promise.
_MISFIT = 0.3
# Standard deviation of a score between training sets of the same size.
_VARIATION = 0.0075
# Labels with fewer texts have no forecast of their own.
_LEAST_LABEL_TEXTS = 10


@dataclass(frozen=True, slots=True)
class Band:
    """A score and where it is likely to be.

    Attributes:
        value: The most likely score.
        low, high: The ends of the interval that has the true score with a probability of
            `COVERAGE`.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resamples: FloatArray) -> "Band":
        """The band of a score whose values in resamples are known. *Shape:* (resamples,)"""
        tail = (1 - COVERAGE) / 2
        low, high = np.quantile(resamples, [tail, 1 - tail]).tolist()
        return cls(value, min(low, value), max(high, value))

    def as_json(self) -> list[float]:
        """Value, low and high."""
        return [self.value, self.low, self.high]


class Extrapolation:
    """The power laws of a learning curve and of its resamples.

    Four sources of uncertainty are in the bands. Texts are drawn with replacement (the bootstrap),
    the same ones at all sizes. Each resample has its own idea of a typical exponent. The gain from
    more texts varies because a power law isn't exact. And so does the score between training sets.

    Args:
        curve: The learning curve.
        n_texts: Number of texts at hand, beyond which a gain varies.
        seed: Seed of the resamples.
    """

    def __init__(self, curve: LearningCurve, n_texts: int, *, seed: int = 0) -> None:
        self.curve = curve
        self.n_texts = n_texts
        rng = np.random.default_rng(seed)
        n = curve.n_texts
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        # The first row is the data as they are.
        weights = np.vstack([np.ones((1, n)), drawn])
        self._counts = curve.label_counts(weights)
        surprise, misfit, variation = rng.standard_normal((3, RESAMPLES))
        self._typical = TYPICAL_EXPONENT * np.exp(EXPONENT_SPREAD * np.append(0, surprise))
        self._misfit = 1 + _MISFIT * np.append(0, misfit)
        self._variation = _VARIATION * np.append(0, variation)

    @cached_property
    def measured(self) -> FloatArray:
        """Accuracy, or micro F if labels aren't exclusive. *Shape:* (1 + resamples, sizes)"""
        tp, fp, fn = (each.sum(axis=2) for each in self._counts)
        return _f(tp, fp, fn)

    @cached_property
    def laws(self) -> PowerLaws:
        """The power law of the data, and those of the resamples."""
        return fit_power_laws(self.curve.sizes, 1 - self.measured, self._typical)

    def at(self, n_texts: int) -> Band:
        """The score with some number of texts."""
        scores = 1 - self.laws.errors(self.n_texts) + self._gains(self.laws, n_texts)
        scores = np.clip(scores + self._variation, 0, 1)
        return Band.of(float(scores[0]), scores[1:])

    def measured_bands(self) -> list[Band]:
        """The score at each size of the curve."""
        return [Band.of(float(column[0]), column[1:]) for column in self.measured.T]

    def label_gains(self, n_texts: int) -> dict[str, tuple[float, Band]]:
        """How much the F score of each label gains with some number of texts, the most first.

        A label has few texts, so its curve only decides on floor and scale. The exponent is that
        of all labels together.

        Returns:
            The F score with the texts at hand, and the gain, by label.
        """
        found = {}
        for column, label in enumerate(self.curve.labels):
            if self.curve.gold[:, column].sum() < _LEAST_LABEL_TEXTS:
                continue
            f = _f(*(each[:, :, column] for each in self._counts))
            laws = fit_scales(self.curve.sizes, 1 - f, self.laws.exponent)
            gain = self._gains(laws, n_texts)
            now = 1 - float(laws.errors(self.n_texts)[0])
            found[label] = (now, Band.of(float(gain[0]), gain[1:]))
        return dict(sorted(found.items(), key=lambda item: -item[1][1].value))

    def _gains(self, laws: PowerLaws, n_texts: int) -> FloatArray:
        """What each curve gains over the texts at hand. *Shape:* (1 + resamples,)"""
        gains: FloatArray = laws.errors(self.n_texts) - laws.errors(n_texts)
        return gains * self._misfit if n_texts > self.n_texts else gains


def _f(tp: NDArray[np.float64], fp: NDArray[np.float64], fn: NDArray[np.float64]) -> FloatArray:
    """F scores from counts. With exclusive labels, the one over all labels is the accuracy."""
    found: FloatArray = 2 * tp / np.maximum(2 * tp + fp + fn, 1e-9)
    return found
