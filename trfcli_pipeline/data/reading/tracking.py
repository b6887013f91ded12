"""Reading of data sets as a part of longer work: what to show."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.progress import track

Records = TypeVar("Records")


def track_reading(records: Iterable[Records], source: DataSource) -> Iterator[Records]:
    """Yield the records of a data set in a phase that counts them."""
    return track(records, f"Reading {as_dataset(source)}", unit="texts")
