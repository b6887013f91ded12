"""The encoder's input: concatenated wordpieces, and padded sub-batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.grouping import group_by_length
from trfcli_pipeline.encoder.transfers import upload


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The concatenated wordpieces of some segments.

    Attributes:
        ids: *Shape:* (wordpieces,)
        lengths: Number of wordpieces in each segment. *Shape:* (segments,)
        type_ids: Token type ids, for models that distinguish the texts of a pair.
            *Shape:* (wordpieces,)
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int32]
    type_ids: NDArray[np.int64] | None = None


@dataclass(slots=True)
class SubBatch:
    """Some segments of a batch, padded to the same length.

    Attributes:
        segments: Indices of the segments in the batch. There may be more rows, which are empty.
            *Shape:* (segments,)
        mask: Where the padded rows hold wordpieces. *Shape:* (rows, length)
        rows: `segments` on the encoder's device. *Shape:* (segments,)
        positions: Index in the batch of each wordpiece, row by row, on the encoder's device.
            *Shape:* (wordpieces,)
        places: Index in the padded rows, laid end to end, of each wordpiece, on the encoder's
            device. *Shape:* (wordpieces,)
        inputs: Keyword arguments of the torch module. *Shape of each:* (rows, length)
    """

    # On the CPU, so that nobody has to wait for the encoder's device to look something up.
    segments: NDArray[np.intp]
    mask: torch.Tensor
    rows: torch.Tensor
    positions: torch.Tensor
    places: torch.Tensor
    inputs: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and their length."""
        rows, length = self.mask.shape
        return rows, length

    @property
    def size(self) -> int:
        """Number of wordpieces, padding included."""
        return self.mask.numel()

    def halve(self) -> list["SubBatch"]:
        """Split into two sub-batches of half the segments. Empty if there is only one."""
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
        return SubBatch(
            segments=self.segments[rows],
            mask=mask,
            rows=self.rows[rows],
            positions=self.positions[pieces],
            places=_places(mask).to(self.places.device),
            inputs=inputs,
        )


def first_occurrences(X: WordPieces) -> NDArray[np.intp]:
    """Find duplicate segments.

    Returns:
        For each segment, the index of the first segment with the same wordpieces.
        *Shape:* (segments,)
    """
    ends = np.cumsum(X.lengths, dtype=np.int64).tolist()
    seen: dict[tuple[bytes, ...], int] = {}
    arrays = [X.ids] if X.type_ids is None else [X.ids, X.type_ids]
    firsts = [
        seen.setdefault(tuple(array[start:end].tobytes() for array in arrays), segment)
        for segment, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    return np.array(firsts, dtype=np.intp)


def group_segments(
    lengths: NDArray[np.int32],
    words_per_batch: int,
    *,
    ignores_padding: bool,
    **options: Any,
) -> Iterator[NDArray[np.intp]]:
    """Yield the segments of each sub-batch. Segments without wordpieces are left out.

    Args:
        ignores_padding: If False, only segments of the same length share a sub-batch, because
            padding would change the encoder's output.
        **options: See `grouping.group_by_length`.
    """
    filled = np.flatnonzero(lengths)
    own = lengths[filled]
    masks = [own > 0] if ignores_padding else own == np.unique(own)[:, None]
    for mask in masks:
        candidates = filled[np.flatnonzero(mask)]
        for group in group_by_length(lengths[candidates], words_per_batch, **options):
            yield candidates[group]


def pad(
    X: WordPieces,
    segments: NDArray[np.intp],
    pad_id: int,
    *,
    shape: tuple[int, int] | None = None,
) -> SubBatch:
    """Pad some segments on the right to the same length, on the CPU.

    The attention mask is left out if nothing is padded: the encoder is up to 25% faster without.

    Args:
        pad_id: The wordpiece id to pad with.
        shape: Rows and length, where more rows than segments are empty; None for no more than
            needed. The attention mask is then never left out.
    """
    own = X.lengths[segments]
    n_rows, length = shape or (len(segments), int(own.max()))
    starts, lengths = np.zeros((2, n_rows, 1), dtype=np.int64)
    starts[: len(segments), 0] = (np.cumsum(X.lengths, dtype=np.int64) - X.lengths)[segments]
    lengths[: len(segments), 0] = own
    columns = np.arange(length)
    mask = columns < lengths
    # Where the mask is False, any index within bounds will do.
    source = np.where(mask, starts + columns, 0)
    inputs = {"input_ids": np.where(mask, X.ids[source], pad_id)}
    if X.type_ids is not None:
        inputs["token_type_ids"] = np.where(mask, X.type_ids[source], 0)
    if shape is not None or not mask.all():
        # Rows that attend to nothing could become NaN.
        inputs["attention_mask"] = (columns < np.maximum(lengths, 1)).astype(np.int64)
    return SubBatch(
        segments=segments,
        mask=torch.from_numpy(mask),
        rows=torch.from_numpy(segments),
        positions=torch.from_numpy(source[mask]),
        places=_places(torch.from_numpy(mask)),
        inputs={key: torch.from_numpy(x) for key, x in inputs.items()},
    )


def move(batches: Sequence[SubBatch], device: torch.device) -> list[SubBatch]:
    """Copy sub-batches from the CPU to a device, all in one transfer."""
    tensors = [
        tensor
        for each in batches
        for tensor in (each.rows, each.positions, each.places, *each.inputs.values())
    ]
    moved = iter(upload(tensors, device))
    return [
        SubBatch(
            segments=each.segments,
            mask=each.mask,
            rows=next(moved),
            positions=next(moved),
            places=next(moved),
            inputs={name: next(moved) for name in each.inputs},
        )
        for each in batches
    ]


def pad_rows(rows: torch.Tensor, batch: SubBatch) -> torch.Tensor:
    """Arrange rows of the whole batch like the sub-batch's inputs, with zeros for padding.

    Args:
        rows: *Shape:* (wordpieces of the batch, width)

    Returns:
        *Shape:* (rows, length, width)
    """
    padded = rows.new_zeros((batch.size, rows.shape[1]))
    padded[batch.places] = rows[batch.positions]
    return padded.view(*batch.mask.shape, -1)


def _places(mask: torch.Tensor) -> torch.Tensor:
    return mask.flatten().nonzero().flatten()
