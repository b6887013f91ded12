"""Shapes of sub-batches that recur, so that their updates can be captured."""

import math

import torch

from trfcli_pipeline.encoder.memory_budget import graph_bytes
from trfcli_pipeline.encoder.shim import TransformersShim

# For larger products, width^2 x wordpieces, running the kernels takes longer than starting them.
_MAX_WORK = 2e10
# Share of the free memory for the graph of a captured update, which is never released.
_GRAPH_SHARE = 1 / 16
# Rows and lengths are rounded up to so few significant bits that shapes recur.
_SIGNIFICANT_BITS = 3
# The least multiples of rows and lengths. With lengths in multiples of 8, batches of short texts
# would grow by a quarter, with 4 by a ninth.
_ROW_MULTIPLE, _LENGTH_MULTIPLE = 8, 4
# RoBERTa's position ids begin after that of padding: 512 of 514 positions can be used.
_SPARE_POSITIONS = 2


def can_capture(device: torch.device) -> bool:
    """Whether the device can capture kernels. AMD's are also called "cuda", but are untried."""
    return device.type == "cuda" and torch.version.cuda is not None


def recurring_shape(shim: TransformersShim, n_rows: int, length: int) -> tuple[int, int] | None:
    """The rows and length to pad a sub-batch to; None if its updates can't be captured.

    The same shape whether they are captured yet or not, so that a training that is resumed draws
    the same dropout masks. A recurring shape is its own.

    Args:
        length: Number of wordpieces in the longest row.
    """
    capabilities = shim.capabilities
    takes_padding = capabilities.ignores_padding and "attention_mask" in capabilities.arguments
    returns_more = shim.all_hidden_states or shim.all_attentions
    if not can_capture(shim.device) or not takes_padding or returns_more:
        return None
    shape = _rounded(n_rows, _ROW_MULTIPLE), _rounded(length, _LENGTH_MULTIPLE)
    # Models without such a limit have none, or -1.
    positions = getattr(shim.module.config, "max_position_embeddings", None) or 0
    if positions > 0 and shape[1] > positions - _SPARE_POSITIONS:
        return None
    is_small = (
        capabilities.width**2 * math.prod(shape) < _MAX_WORK
        and graph_bytes(shim, shape) <= _GRAPH_SHARE * shim.updating.free_bytes()
    )
    return shape if is_small else None


def _rounded(n: int, least_multiple: int) -> int:
    multiple = max(2 ** max(n.bit_length() - _SIGNIFICANT_BITS, 0), least_multiple)
    return -(-n // multiple) * multiple
