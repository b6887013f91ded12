"""Group rows of similar length, so that batches need little padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import PipelineError

# The `words_per_batch` that depends on the free memory.
AUTO = "auto"
# The overhead of one call of the encoder, as the number of wordpieces encoded in the same time; on
# an accelerator, starting the kernels takes longer than running those of a small call.
CALL_OVERHEAD = 100
DEVICE_CALL_OVERHEAD = 4000
# Accelerators get so many rows at once that choosing would take as long as encoding them.
DEVICE_STARTS = 128


def check_words_per_batch(value: object) -> None:
    """Validate the setting `words_per_batch`.

    Raises:
        PipelineError: It is neither "auto" nor None nor a number of wordpieces.
    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value not in (AUTO, None) and not is_number:
        raise PipelineError(
            f"words_per_batch: invalid value {value!r}",
            hint='Use a number of wordpieces, 0 for no limit, or "auto" for as many as fit',
        )


def group_by_length(
    lengths: Sequence[int] | NDArray[np.integer],
    words_per_batch: int,
    *,
    call_overhead: int = CALL_OVERHEAD,
    max_starts: int | None = None,
) -> list[NDArray[np.intp]]:
    """Group rows so that each group, padded to its longest row, stays within a budget.

    The groups are runs of the rows, sorted from longest to shortest, chosen to minimize the total
    time: the padded wordpieces plus an overhead per call. The longest rows come first, so that a
    group that doesn't fit in memory fails at once instead of at the end.

    Args:
        lengths: Number of wordpieces in each row. *Shape:* (rows,)
        words_per_batch: Maximum size of a group in wordpieces, padding included: rows x longest
            row. A longer row forms a group of its own. 0 puts all rows into one group.
        call_overhead: The time that a call takes in addition, as a number of wordpieces.
        max_starts: At how many rows a group may start, evenly spaced; None for all rows. Fewer
            take less time to choose from.

    Returns:
        The row indices of each group. Every row is in exactly one group.
    """
    if words_per_batch < 0:
        raise ValueError(f"words_per_batch must be 0 or more, got {words_per_batch}")
    sizes = np.asarray(lengths, dtype=np.int64)
    if not sizes.size:
        return []
    # A stable sort keeps rows of equal length in order, which makes runs reproducible.
    order = np.argsort(-sizes, kind="stable")
    if not words_per_batch:
        return [order]
    descending = sizes[order].tolist()
    n_rows = len(descending)
    n_padded = n_rows * descending[0]
    if n_padded <= words_per_batch and n_padded - int(sizes.sum()) <= call_overhead:
        # A second call would cost more than all of the padding.
        return [order]
    step = 1
    if max_starts is not None and descending[0]:
        step = max(min(n_rows // max_starts, words_per_batch // descending[0]), 1)
    # Dynamic programming from the last row: the lowest cost of all rows from each one on, and
    # the end of the group that starts there.
    costs = np.zeros(n_rows + step)
    ends = [0] * n_rows
    # The numbers of rows that a group may have.
    counts = np.arange(step, n_rows + step, step)
    for start in reversed(range(0, n_rows, step)):
        longest = descending[start]
        fitting = max(words_per_batch // longest, 1) if longest else n_rows
        n_candidates = min(fitting // step, -(-(n_rows - start) // step))
        # The costs with a group of `step` rows, of twice as many, ...
        candidates = longest * counts[:n_candidates]
        candidates = candidates + costs[start + step : start + n_candidates * step + 1 : step]
        # Of equal costs, take the fullest group.
        n_best = n_candidates - int(candidates[::-1].argmin())
        costs[start] = candidates[n_best - 1] + call_overhead
        ends[start] = min(start + n_best * step, n_rows)
    groups = []
    start = 0
    while start < n_rows:
        groups.append(order[start : ends[start]])
        start = ends[start]
    return groups
