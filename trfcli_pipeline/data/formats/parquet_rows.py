"""Read the rows of a Parquet file in bounded memory.

Parquet stores equal values once, and lists of zeros in a few bytes, so that a kilobyte may unpack
to more than any machine has.
"""

from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from trfcli_pipeline.data.formats.rows import LARGEST_WHOLE, LONGEST_LINE
from trfcli_pipeline.errors import DataError

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch
    from pyarrow.parquet import FileMetaData, ParquetFile

BATCH_ROWS = 1024
# Bytes of the largest numbers that lists have.
_NUMBER = 8


def open_parquet(stream: IO[bytes], name: str) -> "ParquetFile":
    """Open a Parquet file so that equal texts share their memory.

    Args:
        stream: The file.
        name: Its name for messages.

    Raises:
        DataError: A column of a row group, which may have to be read as a whole, is larger than
            1 GiB.
        pyarrow.ArrowException: It isn't a Parquet file, or damaged.
    """
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(stream)
    _check_row_groups(file.metadata, name)
    columns = [file.schema.column(i) for i in range(file.metadata.num_columns)]
    texts = [each.path for each in columns if each.physical_type == "BYTE_ARRAY"]
    return ParquetFile(stream, metadata=file.metadata, read_dictionary=texts)


def bounded_rows(batches: Iterable["RecordBatch"], name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of the batches of a file.

    Raises:
        DataError: A row is larger than a line of a text file may be.
        pyarrow.ArrowException: The file is damaged.
    """
    row = 0
    for batch in batches:
        step = len(batch) if _batch_bytes(batch) <= LONGEST_LINE else 1
        for start in range(0, len(batch), step or 1):
            part = batch.slice(start, step)
            if step == 1 and _batch_bytes(part) > LONGEST_LINE:
                raise DataError(
                    f"{name}, row {row + 1}: larger than {LONGEST_LINE // 2**20} MiB",
                    hint="Split longer texts",
                )
            yield from _decoded(part).to_pylist()
            row += len(part)


def _decoded(batch: "RecordBatch") -> "RecordBatch":
    """Give each text its own memory again, which makes `to_pylist` three times faster."""
    from pyarrow import RecordBatch, types

    columns = [
        each.dictionary_decode() if types.is_dictionary(each.type) else each
        for each in batch.columns
    ]
    return RecordBatch.from_arrays(columns, names=batch.schema.names)


def _check_row_groups(metadata: "FileMetaData", name: str) -> None:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in (group.column(i) for i in range(group.num_columns)):
            size = max(column.total_uncompressed_size, _NUMBER * column.num_values)
            if size > LARGEST_WHOLE:
                raise DataError(
                    f"{name}: {column.path_in_schema} is larger than {LARGEST_WHOLE // 2**20:,} "
                    f"MiB in row group {number + 1}, uncompressed",
                    hint="Write the file with smaller row groups, or use a .jsonl file",
                )


def _batch_bytes(batch: "RecordBatch") -> int:
    return sum(map(_unpacked_bytes, batch.columns))


def _unpacked_bytes(array: "Array") -> int:
    """Size of the values of an array in bytes, each as often as it occurs."""
    from pyarrow import compute, types

    if types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary)
        return compute.sum(compute.take(lengths, array.indices)).as_py() or 0
    if types.is_map(array.type):
        first, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        parts = [array.keys[first:end], array.items[first:end]]
    elif types.is_nested(array.type):
        parts = array.flatten()
        parts = parts if types.is_struct(array.type) else [parts]
    else:
        return array.nbytes
    return sum(map(_unpacked_bytes, parts))
