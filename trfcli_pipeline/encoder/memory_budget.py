"""How much an encoder gets at once, by the memory that is free.

Linear in wordpieces, padding included; see `devices.graph_bytes_per_piece`.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.devices import free_bytes, graph_bytes_per_piece
from trfcli_pipeline.encoder.padding import SubBatch
from trfcli_pipeline.encoder.sub_batches import AUTO

if TYPE_CHECKING:
    from trfcli_pipeline.encoder.model import TransformersWrapper

# The part of the free memory that graphs may take before sub-batches are computed twice.
_GRAPH_SHARE = 0.5
# The part of it that an automatic sub-batch may take. The estimate is a rough one.
_SUB_BATCH_SHARE = 0.25
# The most of an automatic sub-batch on an accelerator, which larger ones can't keep busier.
_DEVICE_PIECES = 2**15
# Where several sub-batches run at once, larger ones than these gain nothing ...
_STREAM_PIECES = 1024
# ... and smaller ones than these cost more in calls than they gain.
_LEAST_PIECES = 192


def sub_batch_size(
    model: "TransformersWrapper", lengths: NDArray[np.int32], *, is_train: bool
) -> int:
    """The most wordpieces of a sub-batch; 0 for one sub-batch. Each stream gets some.

    Args:
        lengths: Wordpieces of the segments. *Shape:* (segments,)
        is_train: Whether the sub-batches are for an update, whose graphs have to fit in memory.
    """
    limits = [(model.updating if is_train else model.predicting).most]
    words_per_batch = model.attrs["words_per_batch"]
    if words_per_batch == AUTO:
        limits.append(_fitting_pieces(model, int(lengths.max(initial=1)), is_train=is_train))
        limits.append(_STREAM_PIECES if model.device.type == "cpu" else _DEVICE_PIECES)
    elif words_per_batch:
        limits.append(words_per_batch)
    if words_per_batch and not is_train and model.n_streams > 1:
        share = math.ceil(lengths.sum() / model.n_streams)
        limits.append(min(_STREAM_PIECES, max(share, _LEAST_PIECES)))
    return 0 if math.isinf(min(limits)) else max(int(min(limits)), 1)


def graph_budget(device: torch.device) -> int:
    """Bytes that the graphs of an update's sub-batches may take together."""
    return int(_GRAPH_SHARE * free_bytes(device))


def graph_bytes(model: "TransformersWrapper", batch: SubBatch) -> int:
    """Estimated bytes of the sub-batch's graph."""
    layers = model.module.config.num_hidden_layers
    return batch.size * _bytes_per_piece(model, layers, batch.mask.shape[1])


def _fitting_pieces(model: "TransformersWrapper", length: int, *, is_train: bool) -> int:
    """Estimated wordpieces that fit in memory, padding included, in rows of some length."""
    # In a prediction, the layers use the same memory by turns.
    keeps_layers = is_train or model.all_hidden_states or model.all_attentions
    layers = model.module.config.num_hidden_layers if keeps_layers else 1
    free = _SUB_BATCH_SHARE * free_bytes(model.device) / (1 if is_train else model.n_streams)
    return int(free / _bytes_per_piece(model, layers, length))


def _bytes_per_piece(model: "TransformersWrapper", layers: int, length: int) -> int:
    config = model.module.config
    return graph_bytes_per_piece(
        layers=layers,
        width=config.hidden_size,
        # Some have none: FNet mixes wordpieces by a Fourier transform.
        heads=getattr(config, "num_attention_heads", None) or 0,
        length=length,
    )
