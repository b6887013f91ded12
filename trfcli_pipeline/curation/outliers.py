"""Outliers: texts that are unlike all others."""

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.curation.neighbors import Neighbors
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# A text's distance is that to so many neighbors: a few copies don't make it ordinary.
_NEIGHBORS = 10
# Tukey's outer fence, in interquartile ranges above the third quartile.
_FENCE = 3.0


def mean_distances(neighbors: Neighbors) -> FloatArray:
    """The mean cosine distance of each text to its nearest neighbors. *Shape:* (texts,)

    Angiulli and Pizzuti 2002, "Fast Outlier Detection in High Dimensional Spaces".
    """
    if not neighbors.indices.shape[1]:
        return np.zeros(len(neighbors.indices))
    nearest = neighbors.similarities[:, :_NEIGHBORS].astype(np.float64)
    return np.asarray(1 - nearest.mean(axis=1))


def find_outliers(neighbors: Neighbors) -> NDArray[np.int_]:
    """Find the texts that are much farther from their neighbors than most, the farthest first.

    Those beyond the outer fence of Tukey 1977, "Exploratory Data Analysis": three interquartile
    ranges above the third quartile.
    """
    distances = mean_distances(neighbors)
    if not len(distances):
        return np.zeros(0, dtype=np.int_)
    first, third = np.percentile(distances, (25, 75))
    order = np.argsort(-distances, kind="stable")
    return order[distances[order] > third + _FENCE * (third - first)]
