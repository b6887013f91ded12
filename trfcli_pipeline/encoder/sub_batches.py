"""Split a batch of wordpieces into padded sub-batches for an encoder."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.encoder.capabilities import pad_id
from trfcli_pipeline.encoder.grouping import AUTO, DEVICE_CALL_OVERHEAD, DEVICE_STARTS
from trfcli_pipeline.encoder.memory_budget import fitting_pieces
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, group_segments, move, pad
from trfcli_pipeline.encoder.recurring_shapes import recurring_shape
from trfcli_pipeline.encoder.shim import TransformersShim

# Wordpieces in a sub-batch on a CPU, unless the settings say otherwise.
DEFAULT_SIZE = 2000
# Larger sub-batches don't keep an accelerator any busier.
_MAX_DEVICE_PIECES = 2**15
# With several streams on a CPU, larger sub-batches aren't faster.
_MAX_STREAM_PIECES = 1024
# For smaller sub-batches, the overhead per call costs more than a further stream gains.
_MIN_STREAM_PIECES = 192


def sub_batches(
    shim: TransformersShim,
    X: WordPieces,
    words_per_batch: int | str | None,
    *,
    is_train: bool = False,
    only: NDArray[np.bool_] | None = None,
) -> list[SubBatch]:
    """Divide a batch into padded sub-batches of segments of similar length.

    Segments without wordpieces are left out.

    Args:
        words_per_batch: Maximum size in wordpieces, padding included; 0 for a single sub-batch,
            "auto" for a size that fits in memory; None for `DEFAULT_SIZE` on a CPU, and "auto" on
            other devices.
        is_train: Whether the sub-batches are for an update, where graphs have to fit in memory.
        only: The segments to include; None for all. *Shape:* (segments,)
    """
    if not shim.capabilities.has_types:
        X = replace(X, type_ids=None)
    lengths = X.lengths if only is None else np.where(only, X.lengths, 0)
    size = sub_batch_size(shim, lengths, words_per_batch, is_train=is_train)
    options = {"call_overhead": DEVICE_CALL_OVERHEAD, "max_starts": DEVICE_STARTS}
    groups = list(
        group_segments(
            lengths,
            size,
            ignores_padding=shim.capabilities.ignores_padding,
            **({} if shim.device.type == "cpu" else options),
        )
    )
    shape = None
    if is_train and len(groups) == 1:
        shape = recurring_shape(shim, len(groups[0]), int(lengths.max()))
        if shape and size and math.prod(shape) > size:
            shape = None
    padding = pad_id(shim.module)
    return move([pad(X, each, padding, shape=shape) for each in groups], shim.device)


def sub_batch_size(
    shim: TransformersShim,
    lengths: NDArray[np.int32],
    words_per_batch: int | str | None,
    *,
    is_train: bool,
) -> int:
    """Choose the maximum size of a sub-batch in wordpieces; 0 for a single sub-batch.

    Args:
        lengths: Number of wordpieces in each segment. *Shape:* (segments,)
    """
    on_cpu = shim.device.type == "cpu"
    if words_per_batch is None:
        words_per_batch = DEFAULT_SIZE if on_cpu else AUTO
    limits: list[float] = [(shim.updating if is_train else shim.predicting).max_size]
    longest = int(lengths.max(initial=1))
    if words_per_batch == AUTO and not on_cpu and longest * len(lengths) <= DEFAULT_SIZE:
        # Too small for it to be worth asking for the free memory.
        words_per_batch = DEFAULT_SIZE
    if words_per_batch == AUTO:
        limits.append(fitting_pieces(shim, longest, is_train=is_train))
        limits.append(_MAX_STREAM_PIECES if on_cpu else _MAX_DEVICE_PIECES)
    elif words_per_batch:
        limits.append(int(words_per_batch))
    if words_per_batch and not is_train and shim.n_streams > 1:
        # Give every stream something to do.
        share = math.ceil(lengths.sum() / shim.n_streams)
        limits.append(min(_MAX_STREAM_PIECES, max(share, _MIN_STREAM_PIECES)))
    return 0 if math.isinf(min(limits)) else max(int(min(limits)), 1)
