"""Rows of numbers, more than memory holds."""

import os
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.data.outputs.spaces import explained
from trfcli_pipeline.errors import NonFiniteError

# Rows that are read at once: 25 MB of a MiniLM's features.
_BLOCK = 16_384
# Half the size of float32. Unit vectors keep three digits, which is enough to compare texts.
_STORED = np.dtype(np.float16)

# What can be appended; rows are read as float32.
Rows = NDArray[np.float32] | NDArray[np.float64]


class ArrayStore:
    """Rows in an unnamed temporary file, such as the features of a million texts.

    The file disappears with the store, or with the process even if that is killed. A million rows
    of 384 numbers take 768 MB there; memory holds only the block that is being read.

    Args:
        width: Numbers in a row.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._length = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def append(self, rows: Rows) -> None:
        """Add rows. *Shape:* (some rows, width)

        Raises:
            NonFiniteError: A row has NaN or infinite numbers.
            OutputError: The file can't be written.
        """
        if not np.isfinite(rows).all():
            raise NonFiniteError("The model's output for some texts is NaN or infinite")
        with explained(tempfile.gettempdir()):
            self._file.seek(0, os.SEEK_END)
            self._file.write(rows.astype(_STORED).tobytes())
            self._file.flush()
        self._length += len(rows)

    def __len__(self) -> int:
        return self._length

    @property
    def n_blocks(self) -> int:
        """Number of blocks that `blocks` yields."""
        return -(-len(self) // _BLOCK)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read all rows in order, a block at a time. *Shape of each:* (rows of the block, width)"""
        for start in range(0, len(self), _BLOCK):
            yield self._read(start, min(_BLOCK, len(self) - start))

    def take(self, indices: NDArray[np.int_]) -> NDArray[np.float32]:
        """Read some rows, in the order of their indices. *Shape:* (indices, width)"""
        found = np.empty((len(indices), self.width), dtype=np.float32)
        blocks = indices // _BLOCK
        for block in np.unique(blocks).tolist():
            start = block * _BLOCK
            rows = self._read(start, min(_BLOCK, len(self) - start))
            found[blocks == block] = rows[indices[blocks == block] - start]
        return found

    def _read(self, start: int, count: int) -> NDArray[np.float32]:
        size = self.width * _STORED.itemsize
        self._file.seek(start * size)
        data = self._file.read(count * size)
        return np.frombuffer(data, dtype=_STORED).reshape(count, self.width).astype(np.float32)
