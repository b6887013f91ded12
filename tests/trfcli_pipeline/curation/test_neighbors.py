import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.curation import neighbors
from trfcli_pipeline.curation.features import normalized
from trfcli_pipeline.curation.neighbors import Neighbors, find_neighbors, nearest_among

RNG = np.random.default_rng(0)
FEATURES = normalized(RNG.normal(size=(40, 5)).astype(np.float32))


@given(number=st.integers(1, 60), block=st.integers(1, 2000))
def test_neighbors_are_the_most_similar_others_whatever_the_block(number: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbors, "_BLOCK", block)
        found = find_neighbors(FEATURES, number)
    cosines = FEATURES @ FEATURES.T
    np.fill_diagonal(cosines, -2)
    expected = np.sort(cosines, axis=1)[:, ::-1][:, : min(number, 39)]
    np.testing.assert_allclose(found.similarities, expected, atol=1e-6)
    assert (found.indices != np.arange(40)[:, np.newaxis]).all()
    np.testing.assert_allclose(
        np.take_along_axis(cosines, found.indices, axis=1), found.similarities, atol=1e-6
    )


def test_single_text_has_no_neighbors() -> None:
    assert find_neighbors(FEATURES[:1], 5).indices.shape == (1, 0)


def test_nearer_and_weightier_neighbors_have_larger_shares() -> None:
    found = Neighbors(
        np.array([[1, 2], [0, 2], [0, 1]]), np.array([[0.9, 0.8]] * 3, dtype=np.float32)
    )
    applies = np.array([[False, False], [True, False], [False, True]])
    even = found.label_shares(applies, weights=np.ones(3), temperature=0.1)
    np.testing.assert_allclose(even[:1], [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))]], rtol=1e-5)
    doubted = found.label_shares(applies, weights=np.array([1, 0, 1.0]), temperature=0.1)
    np.testing.assert_allclose(doubted[:1], [[0, 1]])


def test_nearest_among_candidates_is_another_text() -> None:
    cosines = FEATURES @ FEATURES.T
    found, similarities = nearest_among(FEATURES, np.array([3, 8]), np.array([3, 5, 9]))
    for query, candidates, other, cosine in ((3, (5, 9), 0, 0), (8, (3, 5, 9), 1, 1)):
        best = max(candidates, key=lambda each: cosines[query, each])
        assert found[other] == best
        assert similarities[cosine] == pytest.approx(cosines[query, best], abs=1e-6)
    assert nearest_among(FEATURES, np.array([3]), np.array([3]))[0].tolist() == [-1]
