"""Reading of data sets as a part of longer work: what to show."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.progress import track

Records = TypeVar("Records")


def track_reading(records: Iterable[Records], source: DataSource) -> Iterator[Records]:
    """Yield the records of a data set in a phase that counts them."""
    data = as_dataset(source)
    return track(records, f"Reading {'stdin' if data.is_stdin else data}", unit="texts")
