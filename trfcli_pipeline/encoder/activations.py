"""What the encoder says about a batch of wordpieces, split and joined by doc and segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trfcli_pipeline.errors import PipelineError

# The names of what an encoder can give beside the rows of tokens.
KINDS = ("last_hidden_state", "pooler_output", "all_hidden_states", "all_attentions")

# A numpy array; a CuPy array where spaCy was told to use the GPU and CuPy is there.
Floats = Any


def kinds_to_keep(keep: str | Sequence[str]) -> frozenset[str]:
    """Read the setting `keep`: "all", "tensor" for no kind at all, or a list of names.

    Raises:
        PipelineError: It names something else.
    """
    names = [keep] if isinstance(keep, str) else list(keep)
    unknown = [name for name in names if name not in ("all", "tensor", *KINDS)]
    if unknown:
        raise PipelineError(
            f"keep: there is no {', '.join(map(repr, unknown))}",
            hint=f'Use "all", "tensor", or a list of: {", ".join(KINDS)}',
        )
    return frozenset(KINDS if "all" in names else names) - {"tensor"}


@dataclass(frozen=True, slots=True)
class Activations:
    """The encoder's outputs for some segments (sentences), or the gradients of these.

    Attributes:
        last_hidden_state: float32. *Shape:* (wordpieces, width)
        pooler_output: float32, or None without a trained pooler. *Shape:* (segments, width)
        all_hidden_states: The output of the embeddings and of each layer, or None if not asked
            for. *Shape of each:* (wordpieces, width)
        all_attentions: One array a segment, or None if not asked for.
            *Shape of each:* (layers, heads, n, n) with n wordpieces in the segment
        lengths: Wordpieces of each segment. *Shape:* (segments,)
        is_grad: Whether these are gradients.
    """

    last_hidden_state: Floats
    pooler_output: Floats | None
    all_hidden_states: list[Floats] | None
    all_attentions: list[Floats] | None
    lengths: NDArray[np.int32]
    is_grad: bool = False

    def split(self, segments_per_doc: Sequence[int]) -> list["Activations"]:
        """Split by doc; the parts are views, not copies.

        Args:
            segments_per_doc: How many consecutive segments each doc has.
        """
        segment_ends = np.cumsum(segments_per_doc, dtype=np.int64)
        piece_ends = np.concatenate([[0], np.cumsum(self.lengths)])
        parts = []
        for end, count in zip(segment_ends.tolist(), segments_per_doc, strict=True):
            segments = slice(end - count, end)
            pieces = slice(int(piece_ends[end - count]), int(piece_ends[end]))
            parts.append(
                Activations(
                    last_hidden_state=self.last_hidden_state[pieces],
                    pooler_output=None
                    if self.pooler_output is None
                    else self.pooler_output[segments],
                    all_hidden_states=None
                    if self.all_hidden_states is None
                    else [layer[pieces] for layer in self.all_hidden_states],
                    all_attentions=None
                    if self.all_attentions is None
                    else self.all_attentions[segments],
                    lengths=self.lengths[segments],
                    is_grad=self.is_grad,
                )
            )
        return parts

    @classmethod
    def join(cls, parts: Sequence["Activations"]) -> "Activations":
        """Put the parts that `split` made together again.

        A kind of output that some part lacks is None in the whole.
        """
        if not parts:
            raise ValueError("Can't join no activations: their width would be unknown")
        hidden, poolers, layers, attentions = (
            [getattr(part, name) for part in parts] for name in KINDS
        )
        return cls(
            last_hidden_state=_concatenate(hidden),
            pooler_output=_concatenate(poolers),
            all_hidden_states=None
            if any(each is None for each in layers)
            else [_concatenate(list(each)) for each in zip(*layers, strict=True)],
            all_attentions=None
            if any(each is None for each in attentions)
            else [array for each in attentions for array in each],
            lengths=np.concatenate([part.lengths for part in parts]),
            is_grad=parts[0].is_grad,
        )


def _concatenate(arrays: list[Floats]) -> Floats | None:
    # numpy dispatches to CuPy where the arrays are CuPy's.
    return None if any(array is None for array in arrays) else np.concatenate(arrays)
