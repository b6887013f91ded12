"""Hold out a stratified dev set."""

import random
from collections import Counter
from collections.abc import Sequence
from math import floor

from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.record_store import Selection
from trfcli_pipeline.data.records import Record


def stratified_split(
    records: Sequence[Record], fraction: float, seed: int
) -> tuple[Sequence[Record], Sequence[Record]]:
    """Split records into a training set and a dev set with the same proportions of labels.

    With exclusive labels, the dev set gets `fraction` of each label's records, rounded up or down
    such that the total matches. With several labels per text, labels are processed from the rarest
    to the most common, which keeps all of them close to their share (the idea of iterative
    stratification: Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011).

    The last record of a label stays in the training set, and so do texts whose `normal_form` occurs
    more than once. The dev set may therefore come out smaller, or even empty. Both parts keep the
    order of `records`.

    Args:
        records: Records with labels.
        fraction: Share of the dev set, from 0 to below 1. Above 0, at least one record is held out
            if possible.
        seed: The same seed gives the same split, on every platform.

    Returns:
        The training set and the dev set.
    """
    rng = random.Random(seed)
    # Texts without labels form a group of their own; no real label has an empty name.
    labels = [sorted(record.labels) or [""] for record in records]
    members: dict[str, list[int]] = {}
    for index, own in enumerate(labels):
        for label in own:
            members.setdefault(label, []).append(index)
    sizes = {label: len(indices) for label, indices in members.items()}
    wanted = _shares(sizes, fraction, rng)
    # Hashes take less memory than the texts.
    forms = [hash(normal_form(record.text)) for record in records]
    times = Counter(forms)

    taken: Counter[str] = Counter()
    dev: set[int] = set()
    settled: set[int] = set()
    for _, label in sorted((size, label) for label, size in sizes.items()):
        candidates = [index for index in members[label] if index not in settled]
        rng.shuffle(candidates)
        settled.update(candidates)
        for index in candidates:
            if taken[label] >= wanted[label]:
                break
            leaves_one = all(sizes[other] - taken[other] > 1 for other in labels[index])
            if leaves_one and times[forms[index]] == 1:
                dev.add(index)
                taken.update(labels[index])
    indices = range(len(records))
    return (
        Selection(records, (index for index in indices if index not in dev)),
        Selection(records, (index for index in indices if index in dev)),
    )


def _shares(sizes: dict[str, int], fraction: float, rng: random.Random) -> dict[str, int]:
    """Whole numbers close to `fraction` of each size, by the largest remainder method.

    Rounding each size separately would give many small labels nothing at all.
    """
    exact = {label: size * fraction for label, size in sizes.items()}
    shares = {label: floor(share) for label, share in exact.items()}
    total = max(1, round(sum(exact.values()))) if fraction else 0
    order = [label for label, size in sizes.items() if shares[label] + 1 < size]
    rng.shuffle(order)
    by_remainder = sorted((shares[label] - exact[label], at) for at, label in enumerate(order))
    for _, at in by_remainder[: max(0, total - sum(shares.values()))]:
        shares[order[at]] += 1
    return shares
