import numpy as np
import pytest
from grouped_features import make_groups
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation import clustering
from trfcli_pipeline.curation.clustering import k_means, most_typical, nearest


def test_groups_are_found() -> None:
    features, groups = make_groups([30, 10, 5])
    found = k_means(features, 3, np.random.default_rng(0), np.ones(45)).members
    assert len(set(zip(groups.tolist(), found.tolist(), strict=True))) == 3


def test_weights_move_centers() -> None:
    features = np.array([[0.0], [1.0]], dtype=np.float32)
    found = k_means(features, 1, np.random.default_rng(0), np.array([3.0, 1.0]))
    assert found.centers.tolist() == [[0.25]]


@given(st.integers(1, 12), st.integers(0, 20))
def test_any_number_of_clusters(n_clusters: int, seed: int) -> None:
    features = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    found = k_means(features, n_clusters, np.random.default_rng(seed), np.ones(12))
    assert np.isfinite(found.centers).all()
    assert found.members.min() >= 0
    assert found.members.max() < n_clusters
    if n_clusters >= 3:
        # Copies are together, and only they are.
        assert len(set(found.members.tolist())) == 3


def test_nearest_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = make_groups([5, 6])
    whole = nearest(features, features[[0, 10]])
    monkeypatch.setattr(clustering, "_CHUNK", 3)
    assert nearest(features, features[[0, 10]]).tolist() == whole.tolist() == [0] * 5 + [1] * 6


def test_the_most_typical_text_is_in_the_middle() -> None:
    angles = np.array([0.0, 0.1, 0.25, 0.4, 0.5, 1.4])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert most_typical(features) == 2
    assert most_typical(features[:1]) == 0
