"""The encoder's input: wordpieces end to end, and sub-batches of them padded to one length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from thinc.api import xp2torch

from trfcli_pipeline.encoder.activations import Floats
from trfcli_pipeline.encoder.sub_batches import group_by_length


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The wordpieces of some segments (sentences), laid end to end.

    Attributes:
        ids: *Shape:* (wordpieces,)
        lengths: Wordpieces of each segment. *Shape:* (segments,)
        type_ids: Which part of a segment each wordpiece is in, where the model distinguishes
            parts. *Shape:* (wordpieces,)
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int32]
    type_ids: NDArray[np.int64] | None = None


@dataclass(slots=True)
class SubBatch:
    """Some segments, padded to one length.

    `positions` says where in the batch each wordpiece came from; `mask` where in the padded
    rows it went.
    """

    segments: NDArray[np.intp]
    positions: torch.Tensor
    mask: torch.Tensor
    inputs: dict[str, Any]

    @property
    def size(self) -> int:
        """Wordpieces, padding included."""
        return self.mask.numel()

    def halve(self) -> list["SubBatch"]:
        """Two sub-batches with half of the segments each; none if there is but one."""
        middle = len(self.segments) // 2
        if not middle:
            return []
        n_pieces = int(self.mask[:middle].sum())
        first = (slice(middle), slice(n_pieces))
        second = (slice(middle, None), slice(n_pieces, None))
        return [self._select(*part) for part in (first, second)]

    def _select(self, rows: slice, pieces: slice) -> "SubBatch":
        longest = int(self.mask[rows].sum(dim=1).max())
        mask = self.mask[rows, :longest]
        inputs = {key: each[rows, :longest] for key, each in self.inputs.items()}
        if mask.all():
            inputs.pop("attention_mask", None)
        return SubBatch(self.segments[rows], self.positions[pieces], mask, inputs)


def find_originals(X: WordPieces) -> NDArray[np.intp]:
    """For each segment, the first one that has the same wordpieces: itself, if it is new."""
    ends = np.cumsum(X.lengths, dtype=np.int64).tolist()
    seen: dict[tuple[bytes, ...], int] = {}
    arrays = [X.ids] if X.type_ids is None else [X.ids, X.type_ids]
    originals = [
        seen.setdefault(tuple(array[start:end].tobytes() for array in arrays), segment)
        for segment, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    return np.array(originals, dtype=np.intp)


def divide(
    lengths: NDArray[np.int32], words_per_batch: int, *, ignores_padding: bool
) -> Iterator[NDArray[np.intp]]:
    """The segments of each sub-batch. Segments without wordpieces are left out.

    Args:
        ignores_padding: Whether padding leaves the result alone; if not, all segments of a
            sub-batch are of one length.
    """
    filled = np.flatnonzero(lengths)
    own = lengths[filled]
    kinds = [own > 0] if ignores_padding else own == np.unique(own)[:, None]
    for kind in kinds:
        same = filled[np.flatnonzero(kind)]
        for group in group_by_length(lengths[same], words_per_batch):
            yield same[group]


def pad(X: WordPieces, segments: NDArray[np.intp], padding: int, device: torch.device) -> SubBatch:
    """Pad some segments, on the right, to the longest of them.

    The inputs have an attention mask only where something is padded: without one, the encoder runs
    up to a quarter faster.

    Args:
        padding: The id to pad with.
    """
    starts = np.cumsum(X.lengths, dtype=np.int64) - X.lengths
    lengths = X.lengths[segments, None]
    columns = np.arange(int(lengths.max()))
    mask = columns < lengths
    # What is masked may point anywhere within bounds.
    source = np.where(mask, starts[segments, None] + columns, 0)
    inputs = {"input_ids": np.where(mask, X.ids[source], padding)}
    if X.type_ids is not None:
        inputs["token_type_ids"] = np.where(mask, X.type_ids[source], 0)
    if not mask.all():
        inputs["attention_mask"] = mask.astype(np.int64)
    return SubBatch(
        segments=segments,
        positions=torch.from_numpy(source[mask]).to(device),
        mask=torch.from_numpy(mask).to(device),
        inputs={key: torch.from_numpy(x).to(device) for key, x in inputs.items()},
    )


def pad_rows(rows: Floats, batch: SubBatch) -> torch.Tensor:
    """Lay rows of all wordpieces out as the sub-batch's padded rows, zero where there are none.

    *Shapes:* (wordpieces, width) to (rows, length, width)
    """
    all_rows = xp2torch(rows, device=batch.mask.device)
    padded = all_rows.new_zeros((*batch.mask.shape, all_rows.shape[1]))
    padded[batch.mask] = all_rows[batch.positions]
    return padded
