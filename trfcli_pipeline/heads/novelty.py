"""How unlike the labeled texts a text is: a score for texts that belong to no label.

It is the distance to the nearest labeled texts in the features that the classifier reads (Sun et
al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors",
https://arxiv.org/abs/2204.06507), times a measure of how unsure the classifier is. Each of the two
misses texts that the other finds. No examples of texts without a label are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# Texts whose mean distance counts.
_NEIGHBORS = 3
# A text of which the classifier is sure counts a third of one that it knows nothing about.
_LEAST_DOUBT = 0.5
# Of the texts that labels are known for, this share has a novelty below 1.
_USUAL = 0.95
# Labeled texts to compare with. More of them take up memory, but hardly change the nearest.
MOST_NEIGHBORS = 10_000
# Distances to compute at a time.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Novelty:
    """Compares texts with labeled ones.

    Attributes:
        features: Features of labeled texts, scaled to a length of 1.
            *Shape:* (labeled texts, width)
        scale: The value that a novelty of 1 stands for.
        exclusive: Whether exactly one label applies to each text.
    """

    features: NDArray[np.float16]
    scale: float
    exclusive: bool

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float32],
        others: NDArray[np.float32],
        scores: FloatArray,
        *,
        exclusive: bool,
    ) -> Self:
        """Take labeled texts to compare with, and find out what is usual for others.

        Args:
            features: Features of the texts that the classifier was trained on.
                *Shape:* (texts, width)
            others: Features of texts that have labels, too, but that it wasn't trained on.
                *Shape:* (other texts, width)
            scores: What the classifier predicts for the other texts.
                *Shape:* (other texts, labels)
            exclusive: Whether exactly one label applies to each text.
        """
        known = cls(_normalized(features).astype(np.float16), 1.0, exclusive)
        usual = float(np.quantile(known.score(others, scores), _USUAL))
        return cls(known.features, usual or 1.0, exclusive)

    def score(self, features: NDArray[np.float32], scores: FloatArray) -> FloatArray:
        """Compute the novelty of texts: above 1, it is higher than for 95 % of the dev texts.

        Args:
            features: What the classifier reads. *Shape:* (texts, width)
            scores: What it predicts. *Shape:* (texts, labels)

        Returns:
            *Shape:* (texts,)
        """
        known, distances = self.features.astype(np.float32).T, np.zeros(len(features))
        for start in range(0, len(features), _ROWS):
            rows = slice(start, start + _ROWS)
            distances[rows] = _distances(_normalized(features[rows]) @ known)
        sure = scores.max(axis=1) if self.exclusive else np.maximum(scores, 1 - scores).prod(axis=1)
        found: FloatArray = distances * (1.0 - sure + _LEAST_DOUBT) / self.scale
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, from which `from_dict` restores this."""
        return {"features": self.features, "scale": self.scale, "exclusive": self.exclusive}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restore what `as_dict` returned."""
        return cls(**values)


def _distances(similarities: NDArray[np.float32]) -> FloatArray:
    """The mean cosine distance to the nearest texts. *Shape:* (texts,)"""
    number = min(_NEIGHBORS, similarities.shape[1])
    nearest = np.partition(similarities, -number, axis=1)[:, -number:]
    return np.maximum(1.0 - nearest.mean(axis=1, dtype=np.float64), 0.0)


def _normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
