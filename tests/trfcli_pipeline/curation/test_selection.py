import numpy as np
import pytest
from grouped_features import FEATURES, GROUPS, NONE, store_of
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation import selection
from trfcli_pipeline.curation.selection import select_typical, select_unsure


def test_typical_texts_come_from_each_cluster_the_largest_first() -> None:
    chosen = select_typical(store_of(FEATURES), NONE, 4)
    assert GROUPS[chosen].tolist() == [0, 1, 2, 3]


def test_clusters_with_labeled_texts_come_last() -> None:
    chosen = select_typical(store_of(FEATURES[GROUPS > 0]), FEATURES[:1], 3)
    assert set(GROUPS[GROUPS > 0][chosen].tolist()) == {1, 2, 3}
    labeled = FEATURES[[5, 50]]
    chosen = select_typical(store_of(FEATURES), labeled, 2)
    assert set(GROUPS[chosen].tolist()) == {2, 3}


def test_unsure_texts_differ() -> None:
    margins = np.where(np.arange(100) % 10 == 0, 0.1, 1.0)
    scores = store_of(np.full((100, 2), 0.5))
    chosen = select_unsure(store_of(FEATURES), scores, margins, 4)
    assert len(set(GROUPS[chosen].tolist())) >= 3
    assert margins[chosen].tolist() == [0.1] * 4


def test_texts_differ_by_the_labels_that_they_may_have() -> None:
    features = np.repeat(FEATURES[:1], 20, axis=0)
    scores = np.repeat([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]], 10, axis=0)
    chosen = select_unsure(store_of(features), store_of(scores), np.zeros(20), 2)
    assert sorted(chosen // 10) == [0, 1]


@given(st.integers(1, 100), st.integers(0, 3), st.booleans())
def test_as_many_different_texts_as_asked_for(n: int, seed: int, copies: bool) -> None:
    rows = np.repeat(FEATURES[:5], 20, axis=0) if copies else FEATURES
    pool, scores = store_of(rows), store_of(np.full((100, 2), 0.5))
    typical = select_typical(pool, NONE, n, seed=seed)
    unsure = select_unsure(pool, scores, np.linspace(0, 1, 100), n, seed=seed)
    for chosen in (typical, unsure):
        assert len(set(chosen.tolist())) == len(chosen) == n
        assert set(chosen.tolist()) <= set(range(100))
    assert select_typical(pool, NONE, n, seed=seed).tolist() == typical.tolist()


def test_large_pools_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_MOST_CLUSTERED", 30)
    chosen = select_typical(store_of(FEATURES), NONE, 3)
    assert len(set(GROUPS[chosen].tolist())) == 3
    margins = np.linspace(0, 1, 100)
    chosen = select_unsure(store_of(FEATURES), store_of(np.zeros((100, 2))), margins, 10)
    assert chosen.max() < 30
