"""Estimates of how many wordpieces fit in memory.

The estimates are linear in wordpieces, padding included; see `devices.graph_bytes_per_piece`.
"""

import torch

from trfcli_pipeline.encoder.devices import free_bytes, graph_bytes_per_piece
from trfcli_pipeline.encoder.padding import SubBatch
from trfcli_pipeline.encoder.shim import TransformersShim

# Share of the free memory for autograd graphs; beyond it, sub-batches are recomputed.
_GRAPH_SHARE = 0.5
# Share of the free memory for one automatic sub-batch. The estimate is rough.
_SUB_BATCH_SHARE = 0.25


def graph_budget(device: torch.device) -> int:
    """Memory for all graphs of an update, in bytes."""
    return int(_GRAPH_SHARE * free_bytes(device))


def graph_bytes(shim: TransformersShim, batch: SubBatch) -> int:
    """Estimate the size of the sub-batch's graph, in bytes."""
    layers = shim.module.config.num_hidden_layers
    return batch.size * _bytes_per_piece(shim, layers, batch.mask.shape[1])


def fitting_pieces(shim: TransformersShim, length: int, *, is_train: bool) -> int:
    """Estimate how many wordpieces fit in memory, padding included.

    Args:
        length: Number of wordpieces in the longest row.
        is_train: Whether the graphs have to fit too.
    """
    # Without graphs, one layer reuses the memory of another.
    keeps_layers = is_train or shim.all_hidden_states or shim.all_attentions
    layers = shim.module.config.num_hidden_layers if keeps_layers else 1
    free = _SUB_BATCH_SHARE * free_bytes(shim.device) / (1 if is_train else shim.n_streams)
    return int(free / _bytes_per_piece(shim, layers, length))


def _bytes_per_piece(shim: TransformersShim, layers: int, length: int) -> int:
    config = shim.module.config
    return graph_bytes_per_piece(
        layers=layers,
        width=config.hidden_size,
        # FNet has no attention: it mixes wordpieces with a Fourier transform.
        heads=getattr(config, "num_attention_heads", None) or 0,
        length=length,
    )
