"""Parquet files that unpack to more than memory holds."""

import re
from itertools import islice
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from trfcli_pipeline.data.formats import parquet_rows
from trfcli_pipeline.data.reading import Reading, read_records
from trfcli_pipeline.errors import DataError

LONG = "x" * 2**20


def repeated(number: int, text: str = LONG) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * number, pa.int32()), pa.array([text]))


def in_one_row(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def write(path: Path, **columns: pa.Array) -> Path:
    # Without Arrow's schema, as other programs write files, and with dictionaries of any size.
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        store_schema=False,
        dictionary_pagesize_limit=2**30,
    )
    assert path.stat().st_size < 5_000
    return path


def test_rows_are_those_of_pyarrow(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b", None],
            "label": pa.array(["A", None, "A"]).dictionary_encode(),
            "labels": [["x", "y"], [], None],
            "cats": pa.array(
                [[("A", 1.0)], [("B", 0.5)], None], pa.map_(pa.string(), pa.float64())
            ),
            "nested": [{"a": ["b"]}, None, {"a": None}],
            "bytes": [b"a", b"\xff", None],
            "number": [1, 2, None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    with (tmp_path / "t.parquet").open("rb") as stream:
        file = parquet_rows.open_parquet(stream, "t.parquet")
        assert [*parquet_rows.bounded_rows(file.iter_batches(), "t.parquet")] == table.to_pylist()


def test_equal_texts_are_unpacked_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", text=repeated(5_000))
    records = Reading(path, labeled=False)
    assert [len(record.text) for record in islice(records, 3)] == [len(LONG)] * 3
    assert pa.total_allocated_bytes() < 200 * len(LONG)


@pytest.mark.parametrize(
    "values",
    [
        in_one_row(repeated(10_000)),
        pa.StructArray.from_arrays([in_one_row(repeated(10_000))], ["a"]),
        pa.MapArray.from_arrays(
            [0, 10_000], pa.array([f"{number}" for number in range(10_000)]), repeated(10_000)
        ),
    ],
    ids=["list", "list in struct", "map"],
)
def test_row_that_unpacks_to_gigabytes_is_refused(values: pa.Array, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["a"], "other": values}),
        tmp_path / "t.parquet",
        compression="zstd",
        store_schema=False,
        dictionary_pagesize_limit=2**30,
    )
    with pytest.raises(DataError, match=r"t\.parquet, row 1: larger than 64 MiB"):
        read_records(tmp_path / "t.parquet", labeled=False)
    assert pa.total_allocated_bytes() < 2**28


@pytest.mark.parametrize("where", ["numbers", "text"])
def test_row_group_that_unpacks_to_gigabytes_is_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "LARGEST_WHOLE", 8 * 2**20)
    column = in_one_row(pa.array([0] * 2**20 + [0])) if where == "numbers" else pa.array([LONG * 9])
    path = write(tmp_path / "t.parquet", text=pa.array(["a"]), other=column)
    message = r"t\.parquet: other\S* is larger than 8 MiB in row group 1, uncompressed"
    with pytest.raises(DataError, match=message):
        read_records(path, labeled=False)


def test_row_within_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is one of each row, not of the batch."""
    monkeypatch.setattr(parquet_rows, "LONGEST_LINE", 10)
    path = write(tmp_path / "t.parquet", text=repeated(5, "x" * 10), n=pa.array([None] * 5))
    assert len(read_records(path, labeled=False)) == 5
    path = write(tmp_path / "t.parquet", text=pa.array(["a", "b", "x" * 11]))
    with pytest.raises(DataError, match=re.escape(f"{path}, row 3: larger than 0 MiB")):
        read_records(path, labeled=False)
