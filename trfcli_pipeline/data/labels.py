"""The labels of a data set."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from trfcli_pipeline.data.records import GOLD_THRESHOLD, Record
from trfcli_pipeline.data.wording import agree, enumeration, plural
from trfcli_pipeline.errors import DataError

# Similarity from which a label may be a misspelling of another one.
_ALIKE = 0.65


def label_names(records: Iterable[Record]) -> list[str]:
    """All labels that the records mention, with any value, sorted."""
    return sorted({label for record in records for label in record.cats or {}})


def is_exclusive(records: Sequence[Record]) -> bool:
    """Whether there are records, and each has exactly one label."""
    return bool(records) and all(len(record.labels) == 1 for record in records)


def complete_cats(record: Record, labels: Iterable[str], exclusive: bool) -> dict[str, float]:
    """The value of each label for a record, as a text classifier trains on it.

    A label that the record doesn't mention is 0.0. It is left out as unknown if labels aren't
    exclusive and the record only gives values for some of them (`Record.partial`), or if the
    record has no labels at all (`cats` is None). Labels of the record that are not among `labels`
    are dropped.
    """
    given = record.cats
    if given is None:
        return {}
    if record.partial and not exclusive:
        return {label: given[label] for label in labels if label in given}
    return {label: given.get(label, 0.0) for label in labels}


def check_labels(train: Iterable[Record], dev: Iterable[Record], *, dev_name: str) -> None:
    """Check that every label of the dev set occurs in the training set.

    Raises:
        DataError: Some don't. The message names them and the first line of each.
    """
    check_known_labels(
        dev,
        label_names(train),
        name=dev_name,
        known_as="in the training data",
        advice=f"Add such texts to the training data, or remove them from {dev_name}",
    )


def check_known_labels(
    records: Iterable[Record],
    known: Sequence[str],
    *,
    name: str,
    known_as: str,
    advice: str | None = None,
) -> None:
    """Check that every label that applies to a record is known.

    Args:
        name: Name of the file, for the message.
        known_as: Where the known labels are, as a phrase: "in the training data".
        advice: What to do. By default, the hint lists the known labels.

    Raises:
        DataError: A label isn't known. The message names the labels and the first line of each.
    """
    first_places: dict[str, str] = {}
    for record in records:
        for label in sorted(record.labels.difference(known)):
            first_places.setdefault(label, record.place)
    if not first_places:
        return
    found = [f"{label} ({place})" for label, place in first_places.items()]
    number = plural(len(found), "label", ("is", "are"))
    advice = advice or f"Known labels: {enumeration(known)}"
    by_lower = {label.lower(): label for label in known}
    for label in first_places:
        close = get_close_matches(label.lower(), by_lower, n=1, cutoff=_ALIKE)
        if close:
            advice = f"Did you mean {by_lower[close[0]]} instead of {label}? {advice}"
            break
    raise DataError(f"{name}: {number} not {known_as}: {enumeration(found)}", hint=advice)


def check_single_labels(records: Iterable[Record], *, name: str) -> None:
    """Check that no record has several labels, for a classifier with exclusive labels.

    Raises:
        DataError: Some do. The message names the first one.
    """
    several = [record for record in records if len(record.labels) > 1]
    if several:
        first = several[0]
        raise DataError(
            f"{name}: {plural(len(several), 'text', ('has', 'have'))} several labels, but the "
            "model predicts exactly one per text "
            f"(first: {first.place}, {enumeration(sorted(first.labels))})",
            hint=f"Correct {agree(len(several), 'it', 'them')}, or train a model with --multilabel",
        )


def check_cats(cats: Mapping[str, float], *, exclusive: bool) -> None:
    """Check the gold values of a text that a classifier is trained on.

    Raises:
        DataError: A value is out of range; or labels are exclusive, and values are given but not
            exactly one label applies.
    """
    if any(not 0.0 <= value <= 1.0 for value in cats.values()):
        raise DataError(f"cats must be numbers from 0 to 1, got {cats}")
    number = sum(value >= GOLD_THRESHOLD for value in cats.values())
    if exclusive and (number > 1 or (number == 0 and any(cats.values()))):
        found = "several apply" if number else "none applies"
        raise DataError(
            f"The labels are exclusive, but {found}: {cats}",
            hint=f"Give one label a value of at least {GOLD_THRESHOLD}, or train a multi-label "
            "classifier: --multilabel, exclusive_classes = false",
        )
