"""What a set of records says as a whole: its labels, a dev part of it, and what is odd about it."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from math import floor

from trfcli_pipeline.corpus import Record
from trfcli_pipeline.errors import DataError

# Below this many texts, a label is rarely learnt.
FEW_TEXTS = 10
# From this share on, always guessing the commonest label looks like a good result.
ONE_SIDED = 0.9
# Up to this share, texts without exactly one label look like slips in otherwise exclusive labels.
SLIPS = 0.05

_SHOWN = 5


def label_names(records: Iterable[Record]) -> list[str]:
    """All labels that any record mentions, whether they hold or not, sorted."""
    return sorted({label for record in records for label in record.cats or {}})


def is_exclusive(records: Sequence[Record]) -> bool:
    """Whether there are records and exactly one label holds (value >= 0.5) for each of them."""
    return bool(records) and all(len(record.labels) == 1 for record in records)


def complete_cats(record: Record, labels: Iterable[str], exclusive: bool) -> dict[str, float]:
    """The value of each label for a record, as a text categorizer trains on it.

    A label that the record doesn't mention is 0.0; but where labels are not exclusive and the
    record gives only some of them (`Record.partial`), or none (`cats` is None), it is left out,
    which means unknown. Labels of the record that are not among `labels` are left out as well.
    """
    given = record.cats
    if given is None:
        return {}
    if record.partial and not exclusive:
        return {label: given[label] for label in labels if label in given}
    return {label: given.get(label, 0.0) for label in labels}


def repeated_texts(records: Iterable[Record]) -> int:
    """Number of texts that occur more than once, whitespace aside."""
    return sum(times > 1 for times in Counter(_folded(record) for record in records).values())


def stratified_split(
    records: Sequence[Record], fraction: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """Hold out a part of the records, with each label in the same proportion.

    For exclusive labels, dev gets `fraction` of each label's records rounded down or up, such that
    the sum comes to `fraction` of them all. Otherwise labels are served from the rarest to the
    commonest, which keeps all of them close to their share (the idea of iterative stratification:
    Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011). The last record of a label never leaves
    train, nor does a text that occurs more than once, whitespace aside: so dev may come out
    smaller, and even empty. Both parts keep the order of `records`.

    Args:
        records: Records with labels.
        fraction: Share of dev, from 0 to below 1; above 0, at least one record is aimed for.
        seed: The same seed gives the same split, on every platform.

    Returns:
        Train and dev.

    Raises:
        ValueError: The fraction is out of range.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be at least 0 and below 1, but is {fraction}")
    rng = random.Random(seed)
    # No label at all counts as a label of its own; a real one never has an empty name.
    labels = [sorted(record.labels) or [""] for record in records]
    members: dict[str, list[int]] = {}
    for index, own in enumerate(labels):
        for label in own:
            members.setdefault(label, []).append(index)
    sizes = {label: len(indices) for label, indices in members.items()}
    wanted = _shares(sizes, fraction, rng)
    times = Counter(_folded(record) for record in records)

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
            stay = all(sizes[other] - taken[other] > 1 for other in labels[index])
            if stay and times[_folded(records[index])] == 1:
                dev.add(index)
                taken.update(labels[index])
    return (
        [record for index, record in enumerate(records) if index not in dev],
        [record for index, record in enumerate(records) if index in dev],
    )


def check_labels(train: Iterable[Record], dev: Iterable[Record], *, dev_name: str) -> None:
    """Make sure that train knows every label that holds somewhere in dev.

    Raises:
        DataError: It doesn't. The message names the labels and the first line of each in dev.
    """
    check_known_labels(
        dev,
        label_names(train),
        name=dev_name,
        known_as="in the training data",
        advice=f"Add such texts to the training data, or take them out of {dev_name}",
    )


def check_known_labels(
    records: Iterable[Record],
    known: Sequence[str],
    *,
    name: str,
    known_as: str,
    advice: str | None = None,
) -> None:
    """Make sure that every label that holds somewhere in records is known.

    Args:
        name: Of the records' file, for the message.
        known_as: Where the known labels are, as a phrase: "in the training data".
        advice: What to do; by default the message's hint is the labels that are known.

    Raises:
        DataError: One isn't. The message names the labels and the first line of each.
    """
    first_lines: dict[str, int] = {}
    for record in records:
        for label in sorted(record.labels.difference(known)):
            first_lines.setdefault(label, record.line)
    if not first_lines:
        return
    found = [f"{label} (line {line})" for label, line in first_lines.items()]
    verb = "label is" if len(found) == 1 else "labels are"
    message = f"{name}: {len(found)} {verb} not {known_as}: {_listed(found)}"
    advice = advice or f"Known are {_listed(known)}"
    by_lower = {label.lower(): label for label in known}
    for label in first_lines:
        close = get_close_matches(label.lower(), by_lower, n=1)
        if close:
            advice = f"Did you mean {by_lower[close[0]]} by {label}? {advice}"
            break
    raise DataError(message, hint=advice)


def check_single_labels(records: Iterable[Record], *, name: str) -> None:
    """Make sure that no record has several labels, for a classifier whose labels are exclusive.

    Raises:
        DataError: Some do. The message names the first of them.
    """
    several = [record for record in records if len(record.labels) > 1]
    if several:
        first = several[0]
        verb = "text has" if len(several) == 1 else "texts have"
        raise DataError(
            f"{name}: {len(several):,} {verb} more than one label, but the model gives each text "
            f"one (first: line {first.line}, {_listed(sorted(first.labels))})",
            hint="Correct the data, or train the model with --multilabel",
        )


def remarks(train: Sequence[Record], dev: Sequence[Record]) -> list[str]:
    """What is worth knowing before training, one sentence each, without a full stop."""
    found = [*_overlap(train, dev)]
    for name, part in (("train", train), ("dev", dev)):
        found += [*_conflicts(name, part), *_empty_texts(name, part), *_slips(name, part)]
    return [*found, *_counts(train, dev)]


def _shares(sizes: dict[str, int], fraction: float, rng: random.Random) -> dict[str, int]:
    """Whole numbers near `fraction` of each size, by the largest remainder method.

    Rounding each on its own would give many small classes nothing at all.
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


def _overlap(train: Iterable[Record], dev: Sequence[Record]) -> Iterator[str]:
    seen = {_folded(record) for record in train}
    lines = [record.line for record in dev if _folded(record) in seen]
    if lines:
        verb = "occurs" if len(lines) == 1 else "occur"
        yield (
            f"{len(lines):,} of {_texts(len(dev))} in dev {verb} in train too, "
            f"which makes scores on dev too good (first: line {lines[0]})"
        )


def _conflicts(name: str, records: Iterable[Record]) -> Iterator[str]:
    first: dict[str, Record] = {}
    conflicts: dict[str, tuple[int, int]] = {}
    for record in records:
        text = _folded(record)
        earlier = first.setdefault(text, record)
        if earlier.labels != record.labels:
            conflicts.setdefault(text, (earlier.line, record.line))
    if conflicts:
        one, other = min(conflicts.values())
        verb = "occurs" if len(conflicts) == 1 else "occur"
        yield (
            f"{_texts(len(conflicts))} in {name} {verb} with different labels "
            f"(first: lines {one} and {other})"
        )


def _empty_texts(name: str, records: Iterable[Record]) -> Iterator[str]:
    lines = [record.line for record in records if not record.text.strip()]
    if lines:
        verb = "is" if len(lines) == 1 else "are"
        yield f"{_texts(len(lines))} in {name} {verb} empty (first: line {lines[0]})"


def _slips(name: str, records: Sequence[Record]) -> Iterator[str]:
    odd = [record for record in records if len(record.labels) != 1]
    if odd and len(odd) <= SLIPS * len(records):
        without = sum(not record.labels for record in odd)
        verb = "doesn't" if len(odd) == 1 else "don't"
        yield (
            f"{len(odd):,} of {_texts(len(records))} in {name} {verb} have exactly one label "
            f"({without:,} none, {len(odd) - without:,} several), so labels are not exclusive "
            f"(first: line {odd[0].line})"
        )


def _counts(train: Sequence[Record], dev: Sequence[Record]) -> Iterator[str]:
    in_train = Counter(label for record in train for label in record.labels)
    in_dev = {label for record in dev for label in record.labels}
    names = label_names(train)
    few = sorted((in_train[label], label) for label in names if in_train[label] < FEW_TEXTS)
    if few:
        found = _listed([f"{label} ({number})" for number, label in few])
        verb = "label has" if len(few) == 1 else "labels have"
        yield f"{len(few):,} {verb} fewer than {FEW_TEXTS} texts in train: {found}"
    for label, number in in_train.most_common(1):
        share = number / len(train)
        if number == len(train):
            yield f"{label} holds for every text in train, so there is nothing to tell it from"
        elif share >= ONE_SIDED:
            yield (
                f"{label} holds for {100 * share:.1f} % of the texts in train: "
                "accuracy says little, look at macro F"
            )
    unseen = [label for label in names if label not in in_dev]
    if dev and unseen:
        verb = "label has" if len(unseen) == 1 else "labels have"
        yield f"{len(unseen):,} {verb} no text in dev: {_listed(unseen)}"


def _folded(record: Record) -> str:
    return " ".join(record.text.split())


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number:,} texts"


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
