"""Estimates of how many wordpieces fit in memory.

The estimates are linear in wordpieces, padding included.
"""

import math

import torch

from trfcli_pipeline.encoder.devices import free_bytes
from trfcli_pipeline.encoder.shim import TransformersShim

# Share of the free memory for autograd graphs; beyond it, sub-batches are recomputed.
_GRAPH_SHARE = 0.5
# Share of the free memory for one automatic sub-batch. The estimate is rough.
_SUB_BATCH_SHARE = 0.25


def graph_budget(device: torch.device) -> int:
    """Memory for all graphs of an update, in bytes."""
    return int(_GRAPH_SHARE * free_bytes(device))


def graph_bytes(shim: TransformersShim, shape: tuple[int, int]) -> int:
    """Estimate the size of a sub-batch's graph, in bytes.

    Args:
        shape: Its rows and length.
    """
    layers = shim.module.config.num_hidden_layers
    return math.prod(shape) * _bytes_per_piece(shim, layers, shape[1])


def fitting_pieces(shim: TransformersShim, length: int, *, is_train: bool) -> int:
    """Estimate how many wordpieces fit in memory, padding included.

    Args:
        length: Number of wordpieces in the longest row.
        is_train: Whether the graphs have to fit too.
    """
    # Without graphs, one layer reuses the memory of another.
    keeps_layers = is_train or shim.all_hidden_states or shim.all_attentions
    layers = shim.module.config.num_hidden_layers if keeps_layers else 1
    free = shim.updating.free_bytes() if is_train else free_bytes(shim.device) / shim.n_streams
    return int(_SUB_BATCH_SHARE * free / _bytes_per_piece(shim, layers, length))


def _bytes_per_piece(shim: TransformersShim, layers: int, length: int) -> int:
    """Memory of one wordpiece's activations between the forward and backward pass, in bytes.

    The activations of a transformer layer take h (34 + 5 a s / h) bytes per position in 16 bits,
    for width h, a heads and sequence length s (Korthikanti et al. 2022, "Reducing Activation
    Recomputation in Large Transformer Models", eq. 2), and twice that in float32.

    Args:
        length: Number of wordpieces in the row.
    """
    config = shim.module.config
    # FNet has no attention: it mixes wordpieces with a Fourier transform.
    heads = getattr(config, "num_attention_heads", None) or 0
    return 2 * layers * (34 * config.hidden_size + 5 * heads * length)
