import numpy as np

from trfcli_pipeline.curation.features import normalized
from trfcli_pipeline.curation.neighbors import find_neighbors
from trfcli_pipeline.curation.outliers import find_outliers, mean_distances

RNG = np.random.default_rng(0)
LIKE = normalized((5 * np.eye(1, 6) + RNG.normal(size=(60, 6)) / 3).astype(np.float32))
UNLIKE = np.array([[-1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]], dtype=np.float32)


def test_texts_far_from_all_others_are_found_the_farthest_first() -> None:
    neighbors = find_neighbors(np.concatenate([LIKE, UNLIKE]), 20)
    assert find_outliers(neighbors).tolist()[:2] == [60, 61]


def test_ordinary_texts_are_no_outliers() -> None:
    angles = 2 * np.pi * np.arange(60) / 60
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert not len(find_outliers(find_neighbors(circle, 20)))


def test_texts_without_neighbors_have_no_distance() -> None:
    assert mean_distances(find_neighbors(LIKE[:1], 20)).tolist() == [0.0]
    assert not len(find_outliers(find_neighbors(LIKE[:1], 20)))
