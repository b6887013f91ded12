"""Copies and near-copies of texts: those that disagree in their labels, and leaks between files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.neighbors import Neighbors
from trfcli_pipeline.data.duplicates import fold, normal_form
from trfcli_pipeline.data.records import Record

# From this cosine on, one text is taken to be a near-copy of another.
NEAR = 0.95
_BLOCK = 2**24

# "same": but for whitespace; "alike": but for case and punctuation; "near": by their features.
Kind = Literal["same", "alike", "near"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A text and a copy of it.

    Attributes:
        index: Index of the text.
        other: Index of the copy, among the texts that it was looked for in.
        kind: How much they are alike.
        similarity: Cosine of their features.
    """

    index: int
    other: int
    kind: Kind
    similarity: float


def find_disagreements(
    records: Sequence[Record], features: Features, neighbors: Neighbors
) -> list[Copy]:
    """Find copies and near-copies with different labels, each pair once, the most similar first.

    A text is compared with the first of its copies, and with those of its nearest neighbors that
    are near-copies.
    """
    found: dict[tuple[int, int], Copy] = {}

    def add(index: int, other: int, similarity: float) -> None:
        one, two = sorted((index, other))
        kind = _kind(records[one].text, records[two].text)
        found.setdefault((one, two), Copy(one, two, kind, similarity))

    first: dict[str, int] = {}
    for index, record in enumerate(records):
        other = first.setdefault(normal_form(record.text), index)
        if records[other].labels != record.labels:
            add(other, index, float(features[other] @ features[index]))
    # Similarities are in descending order.
    for index, column in np.argwhere(neighbors.similarities >= NEAR):
        other = int(neighbors.indices[index, column])
        if records[other].labels != records[int(index)].labels:
            add(int(index), other, float(neighbors.similarities[index, column]))
    return sorted(found.values(), key=_likeness)


def find_leaks(
    records: Sequence[Record], others: Sequence[Record], features: Features, of_others: Features
) -> list[Copy]:
    """Find texts of which another file has a copy or near-copy, the most similar first.

    Args:
        records: The texts.
        others: The texts of the other file, among which `Copy.other` counts.
        features: Features of the texts. *Shape:* (texts, width)
        of_others: Features of the others. *Shape:* (others, width)
    """
    forms = {normal_form(record.text): index for index, record in enumerate(others)}
    texts = {fold(record.text): index for index, record in enumerate(others)}
    found = []
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(records), step):
        cosines = features[start : start + step] @ of_others.T
        for row, nearest in enumerate(cosines.argmax(axis=1).tolist()):
            text = records[start + row].text
            other = texts.get(fold(text), forms.get(normal_form(text), nearest))
            kind = _kind(text, others[other].text)
            similarity = float(cosines[row, other])
            if kind != "near" or similarity >= NEAR:
                found.append(Copy(start + row, other, kind, similarity))
    return sorted(found, key=_likeness)


def _likeness(pair: Copy) -> tuple[int, float]:
    return ("same", "alike", "near").index(pair.kind), -pair.similarity


def _kind(one: str, other: str) -> Kind:
    if fold(one) == fold(other):
        return "same"
    return "alike" if normal_form(one) == normal_form(other) else "near"
