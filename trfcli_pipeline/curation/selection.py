"""Which texts of a pool to label next: a batch of texts that are informative and diverse."""

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.clustering import k_means, most_typical, nearest
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# Texts that are clustered, at most: more would hardly change where the clusters are.
_MOST_CLUSTERED = 10_000
# Share of the pool that counts as unsure, and how many texts at least for each one to select.
_CANDIDATES, _LEAST_CANDIDATES = 0.2, 10
# No cluster may weigh nothing.
_LEAST_WEIGHT = 1e-6

Indices = NDArray[np.int_]


def select_unsure(
    pool: ArrayStore, scores: ArrayStore, margins: FloatArray, n: int, *, seed: int = 0
) -> Indices:
    """Select texts that a classifier is unsure about and that differ from each other.

    The texts with the smallest margins are clustered by k-means, in which a text counts the more
    the less sure it is. The text nearest to the center of each cluster is selected (Zhdanov 2019,
    "Diverse mini-batch Active Learning"). Texts differ by their features and by the labels that
    they may have.

    Args:
        pool: The features of the texts.
        scores: The scores of the texts, from 0 to 1 for each label.
        margins: See `Scorer.margins`. *Shape:* (texts,)
        n: Number of texts to select; at most all.
        seed: The same seed selects the same texts.

    Returns:
        Indices of the selected texts, those of the heaviest cluster first. *Shape:* (n,)
    """
    count = max(_LEAST_CANDIDATES * n, int(_CANDIDATES * len(pool)))
    count = max(n, min(count, _MOST_CLUSTERED))
    candidates = np.argsort(margins, kind="stable")[:count]
    rows = np.concatenate([pool.take(candidates), scores.take(candidates)], axis=1)
    weights = np.maximum(1 - margins[candidates], _LEAST_WEIGHT)
    clusters = k_means(rows, n, np.random.default_rng(seed), weights)
    totals = np.bincount(clusters.members, weights, minlength=n)
    chosen: list[int] = []
    for cluster in np.argsort(-totals, kind="stable").tolist():
        members = np.flatnonzero(clusters.members == cluster)
        if len(members):
            apart = ((rows[members] - clusters.centers[cluster]) ** 2).sum(axis=1)
            chosen.append(int(members[apart.argmin()]))
    # Fewer clusters than texts to select have members if some rows are equal.
    rest = np.setdiff1d(np.arange(len(candidates)), chosen)[: n - len(chosen)]
    return candidates[np.concatenate([chosen, rest]).astype(np.int_)]


def select_typical(pool: ArrayStore, labeled: Features, n: int, *, seed: int = 0) -> Indices:
    """Select the most typical text of each cluster, for a pool without a classifier.

    Texts are clustered together with those that are labeled already, and clusters without a labeled
    text come first ("TypiClust", Hacohen et al. 2022, "Active Learning on a Budget: Opposite
    Strategies Suit High and Low Budgets").

    Args:
        pool: The features of the texts.
        labeled: The features of labeled texts, if there are any. *Shape:* (labeled texts, width)
        n: Number of texts to select; at most all.
        seed: The same seed selects the same texts.

    Returns:
        Indices of the selected texts, those of the largest cluster first. *Shape:* (n,)
    """
    random = np.random.default_rng(seed)
    sample = np.arange(len(pool))
    count = max(n, _MOST_CLUSTERED)
    if len(pool) > count:
        sample = np.sort(random.choice(len(pool), count, replace=False))
    features = pool.take(sample)
    n_clusters = min(n + len(labeled), len(sample))
    clusters = k_means(features, n_clusters, random, np.ones(len(sample)))
    sizes = np.bincount(clusters.members, minlength=n_clusters)
    covered = np.bincount(nearest(labeled, clusters.centers), minlength=n_clusters)
    chosen: list[int] = []
    for cluster in np.lexsort((-sizes, covered)).tolist():
        members = np.flatnonzero(clusters.members == cluster)
        if len(members) and len(chosen) < n:
            chosen.append(int(members[most_typical(features[members])]))
    rest = np.setdiff1d(np.arange(len(sample)), chosen)[: n - len(chosen)]
    return sample[np.concatenate([chosen, rest]).astype(np.int_)]
