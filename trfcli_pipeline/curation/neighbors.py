"""Exact nearest neighbors of texts, by the cosine of their features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray
from trfcli_pipeline.progress import phase

# Similarities that are in memory at the same time.
_BLOCK = 2**24
# Similarity of a text to itself, so that it isn't its own neighbor.
_NEVER = -2.0


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest neighbors of texts, the nearest first.

    Attributes:
        indices: *Shape:* (texts, neighbors)
        similarities: Cosines. *Shape:* (texts, neighbors)
    """

    indices: NDArray[np.int_]
    similarities: NDArray[np.float32]

    def label_shares(
        self, applies: BoolArray, *, weights: FloatArray, temperature: float
    ) -> FloatArray:
        """The share of the neighbors of each text that has each label.

        A neighbor counts the more, the nearer it is: its vote is the exponential of its similarity
        divided by the temperature.

        Args:
            applies: Which labels texts have. *Shape:* (texts, labels)
            weights: How much each text counts as a neighbor. *Shape:* (texts,)
            temperature: The lower, the more the nearest neighbors decide.

        Returns:
            *Shape:* (texts, labels)
        """
        nearest = self.similarities[:, :1]
        votes = np.exp((self.similarities - nearest) / temperature) * weights[self.indices]
        votes /= np.maximum(votes.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        shares = np.zeros(applies.shape)
        for column in range(self.indices.shape[1]):
            shares += votes[:, column, np.newaxis] * applies[self.indices[:, column]]
        return shares


def find_neighbors(features: Features, number: int) -> Neighbors:
    """Find the nearest neighbors of each text among the others.

    All pairs are compared, a block of texts at a time, so memory stays bounded.

    Args:
        features: Rows of unit length. *Shape:* (texts, width)
        number: Neighbors to find per text; at most one less than there are texts.
    """
    n_texts = len(features)
    number = min(number, n_texts - 1)
    indices = np.zeros((n_texts, number), dtype=np.int_)
    similarities = np.zeros((n_texts, number), dtype=np.float32)
    step = max(1, _BLOCK // max(n_texts, 1))
    with phase("Finding similar texts", total=n_texts, unit="texts") as finding:
        for start in range(0, n_texts, step) if number else ():
            rows = np.arange(start, min(start + step, n_texts))
            cosines = features[rows] @ features.T
            cosines[np.arange(len(rows)), rows] = _NEVER
            nearest = np.argpartition(-cosines, number - 1, axis=1)[:, :number]
            found = np.take_along_axis(cosines, nearest, axis=1)
            # Ties are in the order of the texts, on every machine.
            order = np.lexsort((nearest, -found), axis=1)
            indices[rows] = np.take_along_axis(nearest, order, axis=1)
            similarities[rows] = np.take_along_axis(found, order, axis=1)
            finding.done += len(rows)
    return Neighbors(indices, similarities)


def nearest_among(
    features: Features, queries: NDArray[np.int_], candidates: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.float32]]:
    """Find the nearest of some texts for each of others. No text is its own neighbor.

    Args:
        features: Rows of unit length. *Shape:* (texts, width)
        queries: Indices of the texts to find neighbors of. *Shape:* (queries,)
        candidates: Indices of the possible neighbors; at least one. *Shape:* (candidates,)

    Returns:
        The index of the nearest, -1 if there is none, and its similarity. *Shapes:* (queries,)
    """
    found = np.full(len(queries), -1)
    cosines = np.full(len(queries), _NEVER, dtype=np.float32)
    step = max(1, _BLOCK // len(candidates))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        similarities = features[queries[rows]] @ features[candidates].T
        similarities[queries[rows][:, np.newaxis] == candidates] = _NEVER
        best = similarities.argmax(axis=1)
        cosines[rows] = similarities[np.arange(len(best)), best]
        found[rows] = np.where(cosines[rows] > _NEVER, candidates[best], -1)
    return found, cosines
