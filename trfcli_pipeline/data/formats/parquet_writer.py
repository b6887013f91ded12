"""Write .parquet files."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from trfcli_pipeline.data.formats.writing import Kind, Writer, as_text
from trfcli_pipeline.errors import OutputError, needs_extra

# A row group is what a reader loads at once, and what this writer holds in memory.
_GROUP_ROWS = 20_000
_GROUP_CHARACTERS = 2**24


class ParquetWriter(Writer):
    """Writes rows as a stream of row groups.

    A file can't be continued: what it says about its row groups is at its end.

    Raises:
        OutputError: pyarrow isn't installed.
    """

    resumable = False

    def __init__(self) -> None:
        super().__init__()
        with needs_extra("Writing Parquet files needs pyarrow", "parquet", OutputError):
            import pyarrow
            import pyarrow.parquet
        self._arrow = pyarrow
        self._sink = _Sink()
        self._rows: list[list[Any]] = []
        self._characters = 0

    def start(self, columns: Mapping[str, Kind]) -> bytes:
        super().start(columns)
        types = {
            "text": self._arrow.string(),
            "integer": self._arrow.int64(),
            "number": self._arrow.float64(),
            "boolean": self._arrow.bool_(),
        }
        self._schema = self._arrow.schema(
            [(as_text(column), types[kind]) for column, kind in columns.items()]
        )
        self._file = self._arrow.parquet.ParquetWriter(self._sink, self._schema)
        return self._sink.take()

    def add(self, batch: Iterable[Mapping[str, Any]]) -> bytes:
        for row in batch:
            cells = self._cells(row)
            self._rows.append(cells)
            self._characters += sum(len(cell) for cell in cells if isinstance(cell, str))
            if len(self._rows) == _GROUP_ROWS or self._characters >= _GROUP_CHARACTERS:
                self._write_group()
        return self._sink.take()

    def end(self) -> bytes:
        self._write_group()
        self._file.close()
        return self._sink.take()

    def _write_group(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [
            self._arrow.array(cells, type=field.type)
            for cells, field in zip(columns, self._schema, strict=True)
        ]
        self._file.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self._characters = [], 0


class _Sink(io.RawIOBase):
    """A file that is taken away while it is written."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        self._chunks.append(bytes(chunk))
        self._size += len(self._chunks[-1])
        return len(self._chunks[-1])

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)
