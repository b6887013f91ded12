import numpy as np
import pytest

from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError


def record(cats: dict[str, float] | None, *, partial: bool = False) -> Record:
    return Record("A text.", cats, 1, partial=partial)


def test_exclusive_labels_of_records() -> None:
    gold = Gold.from_records([record({"B": 1.0}), record({"A": 0.9, "B": 0.1})])
    assert gold.exclusive
    assert gold.labels == ("A", "B")
    assert gold.values.tolist() == [[0, 1], [1, 0]]
    assert gold.classes.tolist() == [1, 0]
    assert gold.counts.tolist() == [1, 1]
    assert len(gold.take(np.array([1]))) == 1


def test_unknown_labels_of_records_are_nan() -> None:
    gold = Gold.from_records([record({"A": 1.0, "B": 1.0}), record({"A": 0.0}, partial=True)])
    assert not gold.exclusive
    np.testing.assert_equal(gold.values, [[1, 1], [0, np.nan]])
    assert gold.counts.tolist() == [1, 1]


def test_labels_can_be_given() -> None:
    gold = Gold.from_records([record({"A": 1.0})], labels=("A", "Z"), exclusive=True)
    assert gold.values.tolist() == [[1, 0]]


def test_records_without_labels_are_an_error() -> None:
    with pytest.raises(DataError, match="No text has a gold label"):
        Gold.from_records([record(None)])
