import io
import sys
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from trfcli_pipeline.data.formats import open_writer, parquet_writer
from trfcli_pipeline.data.formats.parquet_writer import ParquetWriter
from trfcli_pipeline.data.formats.writing import Kind
from trfcli_pipeline.errors import OutputError

COLUMNS: dict[str, Kind] = {
    "text": "text",
    "id": "text",
    "n": "integer",
    "score": "number",
    "ok": "boolean",
}


def test_columns_have_types() -> None:
    writer = ParquetWriter()
    content = writer.start(COLUMNS)
    content += writer.add([{"text": "a", "id": "007", "n": 2**60, "score": 0.5, "ok": True}])
    content += writer.add([{"text": "\ud800", "id": [1], "score": float("nan"), "new": 1}])
    table = pq.read_table(io.BytesIO(content + writer.end()))
    assert table.schema.types == [*(pa.string(), pa.string(), pa.int64(), pa.float64(), pa.bool_())]
    assert table.to_pylist() == [
        {"text": "a", "id": "007", "n": 2**60, "score": 0.5, "ok": True},
        {"text": "\ufffd", "id": "[1]", "n": None, "score": None, "ok": None},
    ]
    assert writer.left_out == {"new"}


def test_row_groups_are_written_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "_GROUP_ROWS", 3)
    monkeypatch.setattr(parquet_writer, "_GROUP_CHARACTERS", 1000)
    writer = ParquetWriter()
    rows: list[dict[str, Any]] = [{"text": str(number)} for number in range(5)]
    chunks = [writer.start({"text": "text"})]
    chunks += [writer.add([row]) for row in [*rows, {"text": "a" * 1000}]]
    assert [bool(chunk) for chunk in chunks] == [True, False, False, True, False, False, True]
    file = pq.ParquetFile(io.BytesIO(b"".join(chunks) + writer.end()))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3]
    assert file.read().column("text").to_pylist() == [*"01234", "a" * 1000]


def test_file_without_rows_has_columns() -> None:
    writer = ParquetWriter()
    content = writer.start(COLUMNS) + writer.end()
    assert pq.read_table(io.BytesIO(content)).column_names == list(COLUMNS)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("a.parquet", "pyarrow", "parquet"), ("a.xlsx", "openpyxl", "xlsx")],
)
def test_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OutputError, match=f"Writing .* needs {package}") as caught:
        open_writer(name)
    assert caught.value.hint == f'pip install "trfcli[{extra}]"'
