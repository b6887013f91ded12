"""The deletion test: how much scores drop without the tokens that an explanation names.

If an explanation is faithful, a score drops more without the tokens that are said to add most to it
than without random ones (DeYoung et al. 2020, "ERASER", section 4: comprehensiveness).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Interval = tuple[float, float]

_RESAMPLES = 2000
_LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """The result of a deletion test.

    All intervals are percentile bootstraps over texts, at 95 %.

    Attributes:
        n_texts: Number of texts in the test.
        n_short: Number of texts that were left out, because they have too few tokens.
        n_deleted: Number of tokens that were deleted from each text.
        draws: Number of random choices for each text.
        top_drop: Mean drop of the score without the tokens that add most to it.
        top_interval: Its confidence interval.
        random_drop: Mean drop without random tokens.
        random_interval: Its confidence interval.
        ratio: `top_drop / random_drop`; None if random tokens don't lower the score.
        ratio_interval: Its confidence interval; None if it has no upper bound.
    """

    n_texts: int
    n_short: int
    n_deleted: int
    draws: int
    top_drop: float
    top_interval: Interval
    random_drop: float
    random_interval: Interval
    ratio: float | None
    ratio_interval: Interval | None

    def as_json(self) -> dict[str, Any]:
        """All of it, by name."""
        return asdict(self)


def summarize_drops(
    top: FloatArray, random: FloatArray, *, n_short: int, n_deleted: int
) -> Faithfulness:
    """Summarize how much the scores of texts drop.

    Args:
        top: The drop of each text without its top tokens. *Shape:* (texts,)
        random: The drop of each text without random tokens. *Shape:* (texts, draws)
        n_short: Number of texts that were left out.
        n_deleted: Number of deleted tokens.
    """
    means = np.stack([top, random.mean(axis=1)], axis=1)
    generator = np.random.default_rng(_SEED)
    chosen = generator.integers(len(means), size=(_RESAMPLES, len(means)))
    resampled = means[chosen].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(resampled[:, 1] > 0, resampled[:, 0] / resampled[:, 1], np.inf)
    top_drop, random_drop = means.mean(axis=0).tolist()
    top_interval, random_interval = (_interval(each) for each in resampled.T)
    ratio_interval = _interval(ratios)
    return Faithfulness(
        n_texts=len(means),
        n_short=n_short,
        n_deleted=n_deleted,
        draws=random.shape[1],
        top_drop=top_drop,
        top_interval=top_interval,
        random_drop=random_drop,
        random_interval=random_interval,
        ratio=top_drop / random_drop if random_drop > 0 else None,
        ratio_interval=ratio_interval if np.isfinite(ratio_interval).all() else None,
    )


def _interval(values: FloatArray) -> Interval:
    tail = (1 - _LEVEL) / 2
    # Other methods would interpolate between infinite values.
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf").tolist()
    return low, high
