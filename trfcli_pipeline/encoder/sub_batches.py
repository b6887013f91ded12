"""Groups rows of like length into sub-batches, so that little of a batch is padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import PipelineError

# The `words_per_batch` that is worked out from the memory that is free.
AUTO = "auto"
# What a call of the encoder costs on its own, in wordpieces that it would encode in that time.
_CALL = 100


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

    Of all ways to do so with rows in order of their lengths, the one that takes least time: little
    is padding, but a group of few rows isn't worth a call. The longest rows come first: a group
    that doesn't fit in memory shows itself at once instead of at the end.

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
    falling = sizes[order].tolist()
    n_rows = len(falling)
    # From each row on: the cost of all rows behind it, at best, and where its group then ends.
    costs = np.zeros(n_rows + 1)
    ends = [0] * n_rows
    for start in reversed(range(n_rows)):
        longest = falling[start]
        fitting = max(words_per_batch // longest, 1) if longest else n_rows
        most = min(fitting, n_rows - start)
        # With one row, with two ...
        own = longest * np.arange(1, most + 1) + _CALL + costs[start + 1 : start + most + 1]
        # Of equal ones, the fullest group.
        n_best = most - int(own[::-1].argmin())
        costs[start], ends[start] = own[n_best - 1], start + n_best
    groups = []
    start = 0
    while start < n_rows:
        groups.append(order[start : ends[start]])
        start = ends[start]
    return groups
