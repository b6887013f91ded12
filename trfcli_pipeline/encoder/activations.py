"""The encoder's outputs for a batch of segments, and how they are split by Doc."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import PipelineError

_OPTIONAL = ("last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions")
# Always kept on Docs: token rows in `doc.tensor`, and what trf_textcat reads.
TENSOR, SEGMENT_SUMS = "tensor", "segment_sums"
# The names of the outputs in `Activations`.
KINDS = (*_OPTIONAL, SEGMENT_SUMS)


def kinds_to_keep(keep: str | Sequence[str]) -> frozenset[str]:
    """Parse the setting `keep`: "all", "tensor" for nothing optional, or a list of names.

    Returns:
        The kinds to keep, and "tensor".

    Raises:
        PipelineError: A name is unknown.
    """
    names = [keep] if isinstance(keep, str) else list(keep)
    unknown = [name for name in names if name not in ("all", TENSOR, *_OPTIONAL)]
    if unknown:
        raise PipelineError(
            f"keep: unknown value {', '.join(map(repr, unknown))}",
            hint=f'Use "all", "tensor", or a list of: {", ".join(_OPTIONAL)}',
        )
    return frozenset(KINDS if "all" in names else names) | {TENSOR, SEGMENT_SUMS}


@dataclass(frozen=True, slots=True)
class Activations:
    """The encoder's outputs for a batch of segments, or the gradients of these outputs.

    All arrays are float32: NumPy's, or CuPy's if spaCy runs on a GPU with CuPy installed. Within
    this package, they may also be torch's tensors on the encoder's device.

    Attributes:
        last_hidden_state: None if it isn't kept. *Shape:* (wordpieces, width)
        pooler_output: None if the model has no trained pooler. *Shape:* (segments, width)
        all_hidden_states: The output of the embeddings and of every layer, or None unless
            requested. *Shape of each:* (wordpieces, width)
        all_attentions: One array per segment, or None unless requested.
            *Shape of each:* (layers, heads, n, n) for a segment of n wordpieces
        lengths: Number of wordpieces in each segment. *Shape:* (segments,)
        segment_sums: The sum of the last hidden states of each segment. *Shape:* (segments, width)
        is_grad: Whether the arrays are gradients.
    """

    last_hidden_state: Any
    pooler_output: Any
    all_hidden_states: list[Any] | None
    all_attentions: list[Any] | None
    lengths: NDArray[np.int32]
    segment_sums: Any = None
    is_grad: bool = False

    def split(self, segments_per_doc: Sequence[int]) -> dict[str, list[Any]]:
        """Split each output by Doc. The parts are views, not copies.

        Args:
            segments_per_doc: Number of consecutive segments in each Doc.

        Returns:
            For each of `KINDS`, the part of each Doc: None if the output is None.
        """
        ends = np.cumsum(segments_per_doc, dtype=np.int64)
        piece_ends = np.concatenate([[0], np.cumsum(self.lengths)])[ends]
        segments, pieces = _slices(ends), _slices(piece_ends)
        return {
            "last_hidden_state": _select(self.last_hidden_state, pieces),
            "pooler_output": _select(self.pooler_output, segments),
            "all_hidden_states": [None] * len(pieces)
            if self.all_hidden_states is None
            else [[layer[each] for layer in self.all_hidden_states] for each in pieces],
            "all_attentions": _select(self.all_attentions, segments),
            "segment_sums": _select(self.segment_sums, segments),
        }

    def arrays(self) -> list[Any]:
        """All arrays in one list; see `with_arrays`."""
        values = (getattr(self, kind) for kind in KINDS)
        lists = (each if isinstance(each, list) else [each] for each in values)
        return [array for each in lists for array in each if array is not None]

    def with_arrays(self, arrays: Iterable[Any]) -> "Activations":
        """Replace all arrays, in the order of `arrays`."""
        new = iter(arrays)
        values: dict[str, Any] = {kind: getattr(self, kind) for kind in KINDS}
        for kind, value in values.items():
            if isinstance(value, list):
                values[kind] = list(islice(new, len(value)))
            elif value is not None:
                values[kind] = next(new)
        return replace(self, **values)

    def only(self, kinds: Collection[str]) -> "Activations":
        """Leave out the outputs that aren't named."""
        values: dict[str, Any] = {kind: None for kind in KINDS if kind not in kinds}
        return replace(self, **values)


def _slices(ends: NDArray[np.int64]) -> list[slice]:
    return [slice(start, end) for start, end in pairwise([0, *ends.tolist()])]


def _select(values: Any, slices: Sequence[slice]) -> list[Any]:
    return [None if values is None else values[each] for each in slices]
