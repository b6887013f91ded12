"""The sum of each segment's wordpiece rows, and the gradient on the way back.

The mean of a text needs only these sums, so the rows never leave the encoder's device.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.devices import summing_dtype
from trfcli_pipeline.encoder.transfers import upload, upload_arrays


def sum_segments(rows: torch.Tensor, lengths: NDArray[np.int32]) -> torch.Tensor:
    """Sum the rows of each segment in double precision, without waiting for the device.

    float32 would accumulate rounding errors over the hundreds of wordpieces of a segment.

    Args:
        rows: *Shape:* (wordpieces, width)
        lengths: Number of wordpieces in each segment. *Shape:* (segments,)

    Returns:
        float32; zeros for an empty segment. *Shape:* (segments, width)
    """
    if not len(rows):
        return rows.new_zeros(len(lengths), rows.shape[1])
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    (on_device,) = upload([torch.from_numpy(starts)], rows.device)
    index = torch.arange(len(rows), device=rows.device)
    exact = rows.to(summing_dtype(rows.device))
    return torch.nn.functional.embedding_bag(index, exact, on_device, mode="sum").float()


def upload_gradients(d_outputs: Activations, device: torch.device) -> Activations:
    """Copy the gradients of outputs to the encoder's device.

    Args:
        d_outputs: Arrays.

    Returns:
        Tensors. The gradient of each segment's sum has been added to all of its rows.
    """
    uploaded = upload_arrays(d_outputs.arrays(), device)
    d_outputs = d_outputs.with_arrays(uploaded)
    d_sums, d_rows = d_outputs.segment_sums, d_outputs.last_hidden_state
    if d_sums is not None:
        segments = np.repeat(np.arange(len(d_outputs.lengths)), d_outputs.lengths)
        (index,) = upload([torch.from_numpy(segments)], device)
        spread = d_sums.index_select(0, index)
        d_rows = spread if d_rows is None else d_rows + spread
    return replace(d_outputs, last_hidden_state=d_rows, segment_sums=None)
