"""Texts to label next, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.clustering import nearest
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.selection import Indices
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.evaluation.eval_prediction import BoolArray
from trfcli_pipeline.progress import track

# A text is unlike the labeled ones if its nearest one is farther away than for this share of them.
_USUAL = 0.95
# With fewer labeled texts, nothing can be said about what is usual.
_LEAST_LABELED = 20
# Labeled texts by which that is measured, at most.
_MOST_COMPARED = 4_096


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A text to label next.

    Attributes:
        record: The text.
        doubts: The labels that it may have, with their scores; see `Scorer.doubts`. Empty without a
            classifier.
        exclusive: Whether exactly one label applies to each text.
        is_unlike: Whether it is unlike all labeled texts.
        stands_for: Number of texts of the pool that are nearer to it than to any other suggested or
            labeled text.
    """

    record: Record
    doubts: Sequence[tuple[str, float]]
    exclusive: bool
    is_unlike: bool
    stands_for: int

    @property
    def reason(self) -> str:
        """Why to label it, such as "unsure between A (0.41) and B (0.38)"."""
        reasons = []
        names = [f"{label} ({score:.2f})" for label, score in self.doubts]
        if len(names) == 2:
            reasons.append(f"unsure between {names[0]} and {names[1]}")
        elif names and self.exclusive:
            reasons.append(f"probably {names[0]}")
        elif names:
            reasons.append(f"unsure about {names[0]}")
        if self.is_unlike:
            reasons.append("unlike anything labeled")
        if self.stands_for:
            reasons.append(f"stands for {plural(self.stands_for, 'other')}")
        return "; ".join(reasons or ["the only one of its kind"])


def are_unlike(chosen: Features, labeled: Features) -> BoolArray:
    """Whether texts are unlike all labeled ones.

    They are if the similarity to the nearest labeled text is lower than it is for 95 % of the
    labeled texts among themselves.

    Args:
        chosen: Unit vectors of the texts. *Shape:* (texts, width)
        labeled: Unit vectors of the labeled texts. *Shape:* (labeled texts, width)

    Returns:
        *Shape:* (texts,)
    """
    if len(labeled) < _LEAST_LABELED:
        return np.zeros(len(chosen), dtype=np.bool_)
    some = labeled[:: -(-len(labeled) // _MOST_COMPARED)]
    similarities = some @ some.T
    np.fill_diagonal(similarities, -np.inf)
    usual = np.quantile(similarities.max(axis=1), 1 - _USUAL)
    unlike: BoolArray = np.array([(labeled @ row).max() < usual for row in chosen], dtype=np.bool_)
    return unlike


def count_represented(pool: ArrayStore, chosen: Indices, labeled: Features) -> list[int]:
    """Count the texts that are nearer to each chosen text than to other chosen or labeled ones.

    Args:
        pool: Unit vectors of all texts.
        chosen: Indices of the chosen ones. *Shape:* (chosen texts,)
        labeled: Unit vectors of the labeled texts. *Shape:* (labeled texts, width)
    """
    known = np.concatenate([pool.take(chosen), labeled])
    counts = np.zeros(len(known), dtype=np.int_)
    for block in track(pool.blocks(), "Comparing the pool", total=pool.n_blocks, unit="parts"):
        counts += np.bincount(nearest(block, known), minlength=len(known))
    # Each chosen text is nearest to itself.
    return np.maximum(counts[: len(chosen)] - 1, 0).tolist()
