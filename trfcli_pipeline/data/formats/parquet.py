"""Read .parquet and .arrow files."""

import json
from collections.abc import Iterator
from typing import IO, Any

from trfcli_pipeline.data.formats.parquet_rows import BATCH_ROWS, bounded_rows, open_parquet
from trfcli_pipeline.data.formats.rows import COPY_AGAIN, Format, RawFile, Rows
from trfcli_pipeline.errors import DataError, needs_extra


def _read_parquet(file: RawFile) -> Rows:
    with needs_extra(f"{file.name}: reading Parquet files needs pyarrow", "parquet", DataError):
        import pyarrow  # noqa: F401
    try:
        schema, batches = _open_table(file.stream, file.name)
        file.columns = schema.names
        file.label_names = _class_names(schema.metadata or {})
        for place, row in enumerate(bounded_rows(batches, file.name), start=1):
            match row.get("cats"):
                case dict() as cats:
                    # In a struct column every row has every key, with null for missing ones.
                    row["cats"] = {key: value for key, value in cats.items() if value is not None}
                case [tuple(), *_] | [] as pairs:
                    row["cats"] = dict(pairs)
            yield place, row
    except DataError:
        raise
    except Exception as error:  # a damaged file may have values that Python doesn't have
        raise DataError(f"{file.name}: not a Parquet file, or damaged", hint=COPY_AGAIN) from error


def _open_table(stream: IO[bytes], name: str) -> tuple[Any, Iterator[Any]]:
    """The schema and the batches of rows of a Parquet or Arrow file."""
    import pyarrow

    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"PAR1"):
        table = open_parquet(stream, name)
        return table.schema_arrow, table.iter_batches(batch_size=BATCH_ROWS)
    if start == b"ARROW1":
        arrow = pyarrow.ipc.open_file(stream)
        return arrow.schema, (arrow.get_batch(at) for at in range(arrow.num_record_batches))
    stream_reader = pyarrow.ipc.open_stream(stream)
    return stream_reader.schema, iter(stream_reader)


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The names of classes, which the `datasets` library stores in a file's metadata."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = {column: _names_of(feature) for column, feature in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {column: found for column, found in names.items() if found}


def _names_of(feature: Any) -> list[str]:
    """The names of a ClassLabel, or of a list of them."""
    match feature:
        case {"names": list(names)} if all(isinstance(name, str) for name in names):
            return names
        case {"feature": inner} | [inner]:
            return _names_of(inner)
    return []


PARQUET = Format(_read_parquet, place="row", is_text=False)
