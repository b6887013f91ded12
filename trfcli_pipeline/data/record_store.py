"""Sequences of records that may be larger than memory."""

import pickle
import tempfile
import weakref
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, overload

from trfcli_pipeline.data.records import Record

# Bytes that a record takes in memory in addition to its pickled size.
_OVERHEAD = 500


class Records(Sequence[Record]):
    """A sequence of records. Slices are views."""

    @abstractmethod
    def _at(self, index: int) -> Record:
        """The record at a non-negative index."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        found = range(len(self))[index]
        return Selection(self, found) if isinstance(found, range) else self._at(found)


class RecordStore(Records):
    """Records that spill to disk when they no longer fit into memory.

    They spill to an unnamed temporary file, which disappears with the store, or with the process
    even if that is killed.

    Args:
        records: The records, consumed one by one.
        room: Maximum number of bytes to use in memory.
    """

    def __init__(self, records: Iterable[Record], *, room: int) -> None:
        self._kept: list[Record] = []
        self._file: IO[bytes] | None = None
        # Start offsets of the records on disk, and the end of the last one.
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
        """Number of records in memory. They come first."""
        return len(self._kept)

    def __len__(self) -> int:
        return self.n_kept + len(self._bounds) - 1

    def __iter__(self) -> Iterator[Record]:
        return map(self._at, range(len(self)))

    def _at(self, index: int) -> Record:
        if index < self.n_kept or self._file is None:
            return self._kept[index]
        place = index - self.n_kept
        start, end = self._bounds[place : place + 2]
        self._file.seek(start)
        record: Record = pickle.loads(self._file.read(end - start))
        return record


class Selection(Records):
    """A view of some records of a sequence.

    Args:
        indices: Indices into the sequence, in the order of the view.
    """

    def __init__(self, records: Sequence[Record], indices: Iterable[int]) -> None:
        self._records = records
        self._indices = array("Q", indices)

    def __len__(self) -> int:
        return len(self._indices)

    def _at(self, index: int) -> Record:
        return self._records[self._indices[index]]
