"""Texts for a person to look at: why, and with what beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trfcli_pipeline.curation.copies import Copy
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.label_errors import DOUBTFUL, LabelErrors
from trfcli_pipeline.curation.neighbors import nearest_among
from trfcli_pipeline.data.records import Record


@dataclass(frozen=True, slots=True)
class DoubtfulText:
    """A text whose labels may be wrong.

    Attributes:
        index: Index of the text.
        given: The labels that it has.
        suggested: The labels that it should probably have.
        doubt: Probability that its labels are wrong.
        reason: Why it is here, as a phrase.
        nearest: Index of the most similar text that has the suggested labels; None if there is
            none.
        similarity: Cosine of the features of the two texts.
    """

    index: int
    given: tuple[str, ...]
    suggested: tuple[str, ...]
    doubt: float
    reason: str
    nearest: int | None
    similarity: float | None

    @property
    def is_wrong(self) -> bool:
        """Whether its labels are probably wrong; else a copy of it has others."""
        return self.doubt >= DOUBTFUL


def find_doubtful_texts(
    records: Sequence[Record],
    gold: Gold,
    features: Features,
    errors: LabelErrors,
    disagreements: Sequence[Copy],
) -> list[DoubtfulText]:
    """List the texts that a person should look at, the most doubtful first.

    Those whose labels are probably wrong come first. After them come copies of a text that
    disagree, of which none was found to be wrong.
    """
    ranked = errors.ranked.tolist()
    listed = set(ranked)
    nearest = _nearest_with_suggestion(features, errors, ranked)
    found = [
        DoubtfulText(
            index,
            _names(errors.applies[index], gold),
            _names(errors.suggested[index], gold),
            float(errors.doubts[index]),
            f"probably wrong ({100 * errors.doubts[index]:.0f} %)",
            *nearest.get(index, (None, None)),
        )
        for index in ranked
    ]
    for pair in disagreements:
        if pair.kind == "near" or listed & {pair.index, pair.other}:
            continue
        # The less doubtful of the two is the suggestion for the other.
        index, other = sorted((pair.index, pair.other), key=lambda each: -errors.doubts[each])
        listed.add(index)
        found.append(
            DoubtfulText(
                index,
                _names(errors.applies[index], gold),
                _names(errors.applies[other], gold),
                float(errors.doubts[index]),
                f"a copy has other labels ({records[other].place})",
                other,
                pair.similarity,
            )
        )
    return found


def _names(row: Any, gold: Gold) -> tuple[str, ...]:
    return tuple(label for label, applies in zip(gold.labels, row, strict=True) if applies)


def _nearest_with_suggestion(
    features: Features, errors: LabelErrors, ranked: list[int]
) -> dict[int, tuple[int, float]]:
    """The nearest text, and its similarity, whose labels are those suggested for a text."""
    by_suggestion: dict[bytes, list[int]] = {}
    for index in ranked:
        by_suggestion.setdefault(errors.suggested[index].tobytes(), []).append(index)
    is_trusted = errors.doubts < DOUBTFUL
    found = {}
    for members in by_suggestion.values():
        has_labels = (errors.applies == errors.suggested[members[0]]).all(axis=1)
        candidates = np.flatnonzero(has_labels & is_trusted)
        if not len(candidates):
            continue
        nearest, cosines = nearest_among(features, np.array(members), candidates)
        for index, other, cosine in zip(members, nearest.tolist(), cosines.tolist(), strict=True):
            if other >= 0:
                found[index] = other, cosine
    return found
