"""Token rows from wordpiece rows, and the gradient on the way back."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from thinc.api import Ops
from thinc.types import Floats2d

from trfcli_pipeline.encoder.devices import summing_dtype
from trfcli_pipeline.encoder.transfers import upload
from trfcli_pipeline.tokenization.alignment import Shares

# Indices have type Any below, because Thinc's types don't allow numpy arrays as indices.


def token_rows(ops: Ops, shares: Shares, piece_rows: Floats2d) -> Floats2d:
    """Sum wordpiece rows to token rows, weighted by the shares of the alignment.

    Args:
        ops: The ops of the rows' device.
        shares: The part of each wordpiece that each token gets.
        piece_rows: The encoder's output. *Shape:* (wordpieces, width)

    Returns:
        *Shape:* (tokens, width)
    """
    index: Any = shares
    rows = _own_rows(ops, shares, piece_rows)
    common = sum_runs(ops, piece_rows[index.common_pieces], index.common_per_segment)
    common *= ops.asarray2f(index.common_weights.reshape(-1, 1))
    shared = ops.backprop_reduce_sum(common, ops.asarray1i(index.seen_per_segment))
    segments_per_token = np.bincount(index.seen_tokens, minlength=len(rows))
    if segments_per_token.max(initial=0) > 1:
        # A token that is too long for the encoder is in several segments.
        return rows + sum_runs(ops, shared, segments_per_token)
    if len(shared) == len(rows):
        rows += shared
    else:
        rows[index.seen_tokens] += shared
    return rows


def device_token_rows(shares: Shares, piece_rows: torch.Tensor) -> torch.Tensor:
    """Compute `token_rows` in torch, on the device of the wordpiece rows, and don't wait for it."""
    n_tokens, width = len(shares.pieces_per_token), piece_rows.shape[1]
    if not n_tokens or not len(piece_rows):
        return piece_rows.new_zeros(n_tokens, width)
    segments = np.repeat(np.arange(len(shares.seen_per_segment)), shares.seen_per_segment)
    by_token = np.argsort(shares.seen_tokens, kind="stable")
    counts: list[Any] = [
        shares.pieces_per_token,
        shares.common_per_segment,
        np.bincount(shares.seen_tokens, minlength=n_tokens),
    ]
    indices: list[Any] = [shares.pieces, shares.common_pieces, segments[by_token]]
    indices += [np.cumsum(each) - each for each in counts]
    weights = [shares.weights, np.repeat(shares.common_weights, shares.common_per_segment)]
    own, common, shared, *starts = _upload(indices, torch.int64, piece_rows.device)
    # Double precision for the same reason as in `sum_runs`.
    dtype = summing_dtype(piece_rows.device)
    own_weights, common_weights = _upload(weights, dtype, piece_rows.device)
    exact = piece_rows.to(dtype)
    rows = _sum_bags(exact, own, starts[0], own_weights)
    # What the tokens of each segment share, and for each token the sum over its segments.
    common_rows = _sum_bags(exact, common, starts[1], common_weights)
    return (rows + _sum_bags(common_rows, shared, starts[2])).float()


def piece_gradients(ops: Ops, shares: Shares, d_token_rows: Floats2d, n_pieces: int) -> Floats2d:
    """Compute the backward pass of `token_rows`.

    Args:
        ops: The ops of the gradients' device.
        shares: The shares that `token_rows` was called with.
        d_token_rows: The gradient of the token rows. *Shape:* (tokens, width)
        n_pieces: Number of wordpieces.

    Returns:
        The gradient of the wordpiece rows. *Shape:* (wordpieces, width)
    """
    index: Any = shares
    d_pieces = ops.alloc2f(n_pieces, d_token_rows.shape[1])
    weights = ops.asarray2f(index.weights.reshape(-1, 1))
    ops.scatter_add(d_pieces, index.pieces, d_token_rows[index.tokens] * weights)
    d_common = sum_runs(ops, d_token_rows[index.seen_tokens], index.seen_per_segment)
    d_common *= ops.asarray2f(index.common_weights.reshape(-1, 1))
    d_pieces[index.common_pieces] = ops.backprop_reduce_sum(
        d_common, ops.asarray1i(index.common_per_segment)
    )
    return d_pieces


def sum_runs(ops: Ops, rows: Floats2d, lengths: NDArray[np.integer]) -> Floats2d:
    """Sum runs of consecutive rows, in double precision.

    Args:
        ops: The ops of the rows' device.
        rows: *Shape:* (rows, width)
        lengths: Number of rows in each run. *Shape:* (runs,)

    Returns:
        float32. *Shape:* (runs, width)
    """
    if not len(rows):
        return ops.alloc2f(len(lengths), rows.shape[1])
    # float32 would accumulate rounding errors over the hundred wordpieces of a long URL.
    sums = ops.reduce_sum(cast(Any, rows.astype("float64")), ops.asarray1i(cast(Any, lengths)))
    return cast(Floats2d, sums.astype("float32"))


def _upload(
    arrays: Sequence[NDArray[Any]], dtype: torch.dtype, device: torch.device
) -> list[torch.Tensor]:
    return upload([torch.from_numpy(each).to(dtype) for each in arrays], device)


def _sum_bags(
    rows: torch.Tensor,
    index: torch.Tensor,
    starts: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum weighted rows, looked up by index; each sum begins at one of `starts` in the index."""
    return torch.nn.functional.embedding_bag(
        index, rows, starts, mode="sum", per_sample_weights=weights
    )


def _own_rows(ops: Ops, shares: Shares, piece_rows: Floats2d) -> Floats2d:
    """Sum the rows of the wordpieces that are aligned to each token."""
    index: Any = shares
    n_tokens = len(index.pieces_per_token)
    rows = ops.alloc2f(n_tokens, piece_rows.shape[1])
    # Most tokens are a single wordpiece, whose row only has to be copied.
    is_whole = (index.weights == 1) & (index.pieces_per_token[index.tokens] == 1)
    whole, parts = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
    rows[index.tokens[whole]] = piece_rows[index.pieces[whole]]
    counts = np.bincount(index.tokens[parts], minlength=n_tokens)
    weights = ops.asarray2f(index.weights[parts].reshape(-1, 1))
    summed: Any = np.flatnonzero(counts)
    weighted = piece_rows[index.pieces[parts]] * weights
    rows[summed] = sum_runs(ops, weighted, counts[summed])
    return rows
