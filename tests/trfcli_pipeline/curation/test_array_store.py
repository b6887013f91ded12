import numpy as np
import pytest

from trfcli_pipeline.curation import array_store
from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.errors import NonFiniteError, OutputError


def test_rows_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_store, "_BLOCK", 4)
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    store = ArrayStore(3)
    for part in np.array_split(rows, 3):
        store.append(part)
    assert len(store) == 10
    assert [len(block) for block in store.blocks()] == [4, 4, 2]
    assert store.n_blocks == 3
    np.testing.assert_array_equal(np.concatenate(list(store.blocks())), rows)
    wanted = np.array([9, 0, 5, 5])
    np.testing.assert_array_equal(store.take(wanted), rows[wanted])
    assert store.take(np.array([], dtype=np.int_)).shape == (0, 3)


def test_rows_can_be_added_after_reading() -> None:
    store = ArrayStore(1)
    store.append(np.ones((2, 1), dtype=np.float32))
    assert list(store.take(np.array([0]))) == [[1]]
    store.append(np.zeros((1, 1)))
    assert np.concatenate(list(store.blocks())).tolist() == [[1], [1], [0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_have_to_be_finite(bad: float) -> None:
    store = ArrayStore(2)
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        store.append(np.array([[0.0, bad]]))
    assert len(store) == 0


def test_a_full_disk() -> None:
    store = ArrayStore(1)
    with open("/dev/full", "r+b", buffering=0) as full:
        store._file = full  # type: ignore[assignment]
        with pytest.raises(OutputError, match="the disk is full"):
            store.append(np.zeros((1, 1)))
