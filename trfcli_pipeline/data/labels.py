"""What a set of records says as a whole: its labels, and a dev part of it."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import floor

from trfcli_pipeline.data.record_store import Selection
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError

# Not those that carry meaning by themselves, such as + and #.
_WITHOUT_PUNCTUATION = str.maketrans(
    "", "", ".,:;!?'\"()[]{}-*“”‘’‚„«»‹›…–—¿¡。、！？，：；（）「」"
)

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


def normal_form(text: str) -> str:
    """What is left of a text when case, punctuation and white space don't count.

    Of a text that is nothing else, such as "...", all but the white space is left.
    """
    return fold(text.casefold().translate(_WITHOUT_PUNCTUATION)) or fold(text)


def fold(text: str) -> str:
    """The text with one blank for any white space in it, and none around it."""
    return " ".join(text.split())


def stratified_split(
    records: Sequence[Record], fraction: float, seed: int
) -> tuple[Sequence[Record], Sequence[Record]]:
    """Hold out a part of the records, with each label in the same proportion.

    For exclusive labels, dev gets `fraction` of each label's records rounded down or up, such that
    the sum comes to `fraction` of them all. Otherwise labels are served from the rarest to the
    commonest, which keeps all of them close to their share (the idea of iterative stratification:
    Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011). The last record of a label never leaves
    train, nor does a text whose `normal_form` occurs more than once: so dev may come out smaller,
    and even empty. Both parts keep the order of `records`.

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
    # Their hashes take less memory than the texts themselves.
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
            stay = all(sizes[other] - taken[other] > 1 for other in labels[index])
            if stay and times[forms[index]] == 1:
                dev.add(index)
                taken.update(labels[index])
    indices = range(len(records))
    return (
        Selection(records, (index for index in indices if index not in dev)),
        Selection(records, (index for index in indices if index in dev)),
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
    message = f"{name}: {len(found)} {verb} not {known_as}: {listed(found)}"
    advice = advice or f"Known are {listed(known)}"
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
            f"one (first: line {first.line}, {listed(sorted(first.labels))})",
            hint="Correct the data, or train the model with --multilabel",
        )


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


def listed(found: Sequence[str]) -> str:
    """The first few of some items, and how many there are more."""
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
