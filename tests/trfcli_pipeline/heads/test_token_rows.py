import numpy as np
import pytest
import torch
from aligned_docs import (
    OPS,
    WIDTH,
    Segment,
    batches,
    make_alignment,
    quick,
    random_rows,
    seeds,
    share_matrix,
)
from hypothesis import given

from trfcli_pipeline.heads.token_rows import device_token_rows, piece_gradients, token_rows
from trfcli_pipeline.tokenization.alignment import Alignment


@quick
@given(batches, seeds)
def test_token_rows_are_the_weighted_sums_of_wordpiece_rows(
    batch: list[Segment], seed: int
) -> None:
    matrix = share_matrix(batch)
    rows = random_rows(matrix.shape[1], seed)
    tokens = token_rows(OPS, make_alignment(batch).shares(), rows)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, matrix @ rows, rtol=1e-6, atol=1e-6)
    in_torch = device_token_rows(make_alignment(batch).shares(), torch.from_numpy(rows))
    np.testing.assert_allclose(in_torch, matrix @ rows, rtol=1e-6, atol=1e-6)


@quick
@given(batches, seeds)
def test_no_part_of_a_row_is_lost_or_counted_twice(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    # Positive numbers only: sums of numbers that cancel out say little about rounding.
    rows = random_rows(alignment.n_pieces, seed, low=0.5)
    tokens = token_rows(OPS, alignment.shares(), rows)
    np.testing.assert_allclose(
        tokens.sum(axis=0, dtype="float64"), rows.sum(axis=0, dtype="float64"), rtol=1e-6
    )


@quick
@given(batches, seeds)
def test_truncated_tokens_get_zeros(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    tokens = token_rows(OPS, alignment.shares(), random_rows(alignment.n_pieces, seed))
    starts = [*alignment.segments[1:, 0], alignment.n_tokens]
    for (_, end, _), next_start in zip(alignment.segments, starts, strict=False):
        assert not tokens[end:next_start].any()


@quick
@given(batches, seeds)
def test_piece_gradients_are_the_transpose(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    shares = alignment.shares()
    x = random_rows(alignment.n_pieces, seed)
    y = random_rows(alignment.n_tokens, seed + 1)
    gradients = piece_gradients(OPS, shares, y, alignment.n_pieces)
    assert gradients.dtype == np.float32
    np.testing.assert_allclose(gradients, share_matrix(batch).T @ y, rtol=1e-6, atol=1e-6)
    forward = (token_rows(OPS, shares, x).astype("float64") * y).sum()
    backward = (gradients.astype("float64") * x).sum()
    assert forward == pytest.approx(backward, rel=1e-5, abs=1e-5)


def test_a_token_of_many_wordpieces_accumulates_no_rounding_errors() -> None:
    n_pieces = 20_000
    alignment = make_alignment([(1, 0, [{0}] * n_pieces)])
    rows = random_rows(n_pieces, 0, low=0.0)
    expected = rows.sum(axis=0, dtype="float64").astype("f")
    np.testing.assert_array_max_ulp(
        token_rows(OPS, alignment.shares(), rows)[0], expected, maxulp=1
    )
    in_torch = device_token_rows(alignment.shares(), torch.from_numpy(rows))
    np.testing.assert_array_max_ulp(in_torch[0].numpy(), expected, maxulp=1)


def test_a_token_in_several_segments_has_its_share_of_each() -> None:
    # A token in two windows, and another one in the second.
    links = np.array([[0, 1], [0, 3], [1, 4]], dtype=np.int32)
    segments = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    alignment = Alignment(links, segments, 2)
    rows = np.arange(5 * WIDTH, dtype="f").reshape(5, WIDTH)
    matrix = np.array([[1, 1, 0.5, 1, 0], [0, 0, 0.5, 0, 1]], dtype="f")
    np.testing.assert_allclose(token_rows(OPS, alignment.shares(), rows), matrix @ rows)
    in_torch = device_token_rows(alignment.shares(), torch.from_numpy(rows))
    np.testing.assert_allclose(in_torch, matrix @ rows)
    d_tokens = np.arange(2 * WIDTH, dtype="f").reshape(2, WIDTH)
    gradients = piece_gradients(OPS, alignment.shares(), d_tokens, 5)
    np.testing.assert_allclose(gradients, matrix.T @ d_tokens)
