"""Keeps the records of files that may be larger than memory."""

import pickle
import tempfile
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, overload

from trfcli_pipeline.data.records import Record

# What a record takes in memory beyond what it takes pickled.
_OVERHEAD = 500


class Records(Sequence[Record]):
    """Records in an order, wherever they are. A slice doesn't copy them."""

    @abstractmethod
    def _at(self, index: int) -> Record:
        """The record at an index from 0."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        found = range(len(self))[index]
        return Selection(self, found) if isinstance(found, range) else self._at(found)


class RecordStore(Records):
    """Records in memory as far as there is room, and on disk beyond that.

    The file on disk, among the system's temporary ones, has no name: it goes with the store, or
    with the process, however that ends.

    Args:
        records: The records; taken one by one.
        room: The most bytes of memory that they should take.
    """

    def __init__(self, records: Iterable[Record], *, room: int) -> None:
        self._kept: list[Record] = []
        self._file: IO[bytes] | None = None
        # Where the records on disk start, and where the last one ends.
        self._bounds = array("Q", [0])
        for record in records:
            packed = pickle.dumps(record)
            room -= len(packed) + _OVERHEAD
            if room >= 0:
                self._kept.append(record)
            else:
                if self._file is None:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115
                    weakref.finalize(self, self._file.close)
                self._file.write(packed)
                self._bounds.append(self._bounds[-1] + len(packed))

    @property
    def n_kept(self) -> int:
        """How many are in memory: the first ones."""
        return len(self._kept)

    def __len__(self) -> int:
        return self.n_kept + len(self._bounds) - 1

    def __iter__(self) -> Iterator[Record]:
        return map(self._at, range(len(self)))

    def _at(self, index: int) -> Record:
        if index < self.n_kept:
            return self._kept[index]
        assert self._file is not None
        place = index - self.n_kept
        start, end = self._bounds[place : place + 2]
        self._file.seek(start)
        record: Record = pickle.loads(self._file.read(end - start))
        return record


class Selection(Records):
    """Some records of a sequence, which stay where they are.

    Args:
        indices: Theirs in the sequence, in the order that they should have here.
    """

    def __init__(self, records: Sequence[Record], indices: Iterable[int]) -> None:
        self._records = records
        self._indices = array("Q", indices)

    def __len__(self) -> int:
        return len(self._indices)

    def _at(self, index: int) -> Record:
        return self._records[self._indices[index]]
