"""Reading of data files as a part of longer work: what to check first, and what to show."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from trfcli_pipeline.data.formats import STDIN
from trfcli_pipeline.data.records import iter_records
from trfcli_pipeline.progress import track

Records = TypeVar("Records")


def track_reading(records: Iterable[Records], path: Path | str) -> Iterator[Records]:
    """Yield the records of a data file in a phase that counts them; "-" is stdin."""
    return track(records, f"Reading {'stdin' if str(path) == STDIN else path}", unit="texts")


def check_beginning(path: Path | str, *, labeled: bool) -> None:
    """Check that a data file is there, and that it begins as records do.

    This takes no time, and finds what is wrong with all records, such as a missing column. Not
    with stdin, which can be read only once.

    Args:
        labeled: Whether records must have labels.

    Raises:
        DataError: There is no such file, its format is unknown, or its first record is bad.
    """
    if str(path) != STDIN:
        next(iter_records(path, labeled=labeled), None)
