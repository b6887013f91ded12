"""Clusters of texts, by the encoder's features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

_ITERATIONS = 8
# Neighbors by which the typicality of a text is measured.
_NEIGHBORS = 20
# Rows whose distances are computed at once.
_CHUNK = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Clusters of texts.

    Attributes:
        centers: The mean features of each cluster. *Shape:* (clusters, width)
        members: The cluster of each text. *Shape:* (texts,)
    """

    centers: Features
    members: NDArray[np.int_]


def k_means(
    features: Features, n_clusters: int, random: np.random.Generator, weights: FloatArray
) -> Clusters:
    """Cluster texts by weighted k-means, with centers chosen first by k-means++.

    Args:
        features: *Shape:* (texts, width)
        n_clusters: Number of clusters; at most one per text.
        random: Draws the first centers.
        weights: Weight of each text in the mean of its cluster. *Shape:* (texts,)
    """
    centers = features[_first_centers(features, n_clusters, random, weights)]
    weighted = features * weights[:, np.newaxis].astype(np.float32)
    for _ in range(_ITERATIONS):
        members = nearest(features, centers)
        order = np.argsort(members, kind="stable")
        # An empty cluster keeps its center.
        filled, starts = np.unique(members[order], return_index=True)
        sums = np.add.reduceat(weighted[order], starts)
        centers[filled] = sums / np.add.reduceat(weights[order], starts)[:, np.newaxis]
    return Clusters(centers, nearest(features, centers))


def nearest(features: Features, centers: Features) -> NDArray[np.int_]:
    """The nearest center of each text. *Shape:* (texts,)"""
    found = np.empty(len(features), dtype=np.int_)
    halves = 0.5 * (centers**2).sum(axis=1)
    for start in range(0, len(features), _CHUNK):
        some = slice(start, start + _CHUNK)
        found[some] = (features[some] @ centers.T - halves).argmax(axis=1)
    return found


def most_typical(features: Features) -> int:
    """The text with the smallest mean distance to its nearest neighbors.

    This is the typicality of Hacohen et al. 2022, "Active Learning on a Budget: Opposite Strategies
    Suit High and Low Budgets".

    Args:
        features: Unit vectors of the texts of a cluster. *Shape:* (texts, width)
    """
    means = np.empty(len(features))
    n_neighbors = min(_NEIGHBORS, len(features))
    for start in range(0, len(features), _CHUNK):
        some = slice(start, start + _CHUNK)
        similarities = features[some] @ features.T
        near = np.partition(similarities, -n_neighbors, axis=1)[:, -n_neighbors:]
        means[some] = np.sqrt(np.maximum(2 - 2 * near, 0)).mean(axis=1)
    return int(means.argmin())


def _first_centers(
    features: Features, n_clusters: int, random: np.random.Generator, weights: FloatArray
) -> list[int]:
    """Choose texts far from each other (Arthur and Vassilvitskii 2007, "k-means++")."""
    shares = weights
    chosen: list[int] = []
    distances = np.full(len(features), np.inf)
    squares = (features**2).sum(axis=1)
    for _ in range(n_clusters):
        total = shares.sum()
        # Only copies of chosen texts are left, or texts without a weight.
        if total <= 0:
            shares = np.ones(len(features))
            shares[chosen] = 0
            total = shares.sum()
        index = int(random.choice(len(features), p=shares / total))
        chosen.append(index)
        apart = squares + squares[index] - 2 * features @ features[index]
        distances = np.minimum(distances, np.maximum(apart, 0))
        distances[chosen] = 0
        shares = weights * distances
    return chosen
