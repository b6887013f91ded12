"""Groups rows of like length into sub-batches, so that little of a batch is padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import PipelineError

# The `words_per_batch` that is worked out from the memory that is free.
AUTO = "auto"
# A row shorter than this share of its group's longest would be padding for the most part ...
_LIKE = 0.75
# ... but a group of fewer wordpieces than this isn't worth a call of the encoder.
_SMALL = 256


def check_words_per_batch(value: object) -> None:
    """Make sure that a setting of `words_per_batch` is "auto" or a number that can be one.

    Raises:
        PipelineError: It is something else.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value != AUTO and not is_number:
        raise PipelineError(
            f"words_per_batch: can't be {value!r}",
            hint='Use a number of wordpieces, 0 for no limit, or "auto" for as many as fit',
        )


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
