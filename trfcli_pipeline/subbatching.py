"""Groups rows of like length into sub-batches, so that little of a batch is padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A row shorter than this share of its group's longest would be padding for the most part ...
_LIKE = 0.75
# ... but a group of fewer wordpieces than this isn't worth a call of the encoder.
_SMALL = 256


def group_by_length(
    lengths: Sequence[int] | NDArray[np.integer], words_per_batch: int
) -> list[NDArray[np.intp]]:
    """Group rows so that each group, padded to its longest row, stays within a budget.

    Rows are taken longest first: each group is then as uniform as it can be, and a group that
    doesn't fit in memory shows itself at once instead of at the end. A group ends before the
    budget does where the next rows are much shorter: two calls then cost less than the padding.

    Args:
        lengths: Wordpieces of each row. *Shape:* (rows,)
        words_per_batch: The most wordpieces of a group, padding included: rows x longest row.
            A row that is longer goes alone. 0 puts all rows into one group.

    Returns:
        The row indices of each group; every row is in exactly one.
    """
    if words_per_batch < 0:
        raise ValueError(f"words_per_batch must be 0 or more, got {words_per_batch}")
    sizes = np.asarray(lengths, dtype=np.int64)
    if not sizes.size:
        return []
    # Stable, so that rows of equal length keep their order and runs can be repeated exactly.
    order = np.argsort(-sizes, kind="stable")
    if not words_per_batch:
        return [order]
    falling = sizes[order]
    groups = []
    start = 0
    while start < len(order):
        longest = max(int(falling[start]), 1)
        most = start + max(words_per_batch // longest, 1)
        least = start + _SMALL // longest
        # Ascending, as binary search wants it.
        like = int(np.searchsorted(-falling, -_LIKE * longest, side="right"))
        end = min(most, max(least, like, start + 1))
        groups.append(order[start:end])
        start = end
    return groups
