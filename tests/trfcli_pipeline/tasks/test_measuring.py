import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.tasks import measuring


@given(st.integers(1, 60), st.integers(1, 60))
def test_samples_are_from_everywhere(n_items: int, most: int) -> None:
    found = measuring.evenly(range(n_items), most)
    assert len(found) == min(n_items, most) == len(set(found))
    assert found[0] == 0
    if most > 1:
        assert found[-1] == n_items - 1
        assert max(np.diff(found), default=1) <= np.ceil(n_items / (most - 1))


def test_cosines() -> None:
    a = np.array([[3, 4], [0, 0], [0, 0], [1, 0]], np.float32)
    b = np.array([[3, 4], [0, 0], [1, 0], [-2, 0]], np.float32)
    assert measuring._cosines(a, b).tolist() == pytest.approx([1, 1, 0, -1])
