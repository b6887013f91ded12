"""Read .parquet files."""

import json
from typing import Any

from trfcli_pipeline.data.formats.rows import COPY_AGAIN, Format, RawFile, Rows
from trfcli_pipeline.errors import DataError


def _read_parquet(file: RawFile) -> Rows:
    try:
        import pyarrow.parquet
    except ImportError as error:
        hint = 'pip install "trfcli[parquet]"'
        raise DataError(
            f"{file.name}: pyarrow is needed to read Parquet files", hint=hint
        ) from error
    try:
        table = pyarrow.parquet.ParquetFile(file.stream)
        file.columns = table.schema_arrow.names
        file.label_names = _class_names(table.schema_arrow.metadata or {})
        batches = table.iter_batches(batch_size=1024)
        rows = (row for batch in batches for row in batch.to_pylist())
        for place, row in enumerate(rows, start=1):
            match row.get("cats"):
                case dict() as cats:
                    # In a struct column every row has every key, with null for missing ones.
                    row["cats"] = {key: value for key, value in cats.items() if value is not None}
                case [tuple(), *_] | [] as pairs:
                    row["cats"] = dict(pairs)
            yield place, row
    except Exception as error:  # a damaged file may have values that Python doesn't have
        raise DataError(f"{file.name}: not a Parquet file, or damaged", hint=COPY_AGAIN) from error


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The names of classes, which the `datasets` library stores in a file's metadata."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: feature["names"] for column, feature in features.items() if _is_class(feature)
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _is_class(feature: Any) -> bool:
    names = feature.get("names") if isinstance(feature, dict) else None
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


PARQUET = Format(_read_parquet, place="row", is_text=False)
