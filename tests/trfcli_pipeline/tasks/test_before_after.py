import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.tasks.before_after import evenly, row_cosines


@given(st.integers(1, 60), st.integers(1, 60))
def test_sample_is_spread_over_all_items(n_items: int, limit: int) -> None:
    found = evenly(range(n_items), limit)
    assert len(found) == min(n_items, limit) == len(set(found))
    assert found[0] == 0
    if limit > 1:
        assert found[-1] == n_items - 1
        assert max(np.diff(found), default=1) <= np.ceil(n_items / (limit - 1))


def test_row_cosines_of_zero_rows_are_defined() -> None:
    a = np.array([[3, 4], [0, 0], [0, 0], [1, 0]], np.float32)
    b = np.array([[3, 4], [0, 0], [1, 0], [-2, 0]], np.float32)
    assert row_cosines(a, b).tolist() == pytest.approx([1, 1, 0, -1])
