"""Warnings about training data: leaks, duplicates, damaged texts, rare labels."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from statistics import median

from trfcli_pipeline.data.duplicates import fold, normal_form
from trfcli_pipeline.data.labels import label_names
from trfcli_pipeline.data.records import GOLD_THRESHOLD, Record
from trfcli_pipeline.data.wording import agree, enumeration, plural

# A classifier rarely learns a label from fewer texts.
RARE_LABEL = 10
# If a label applies to this share of the texts, always predicting it gives a high accuracy.
IMBALANCED = 0.9
# Up to this share of texts without exactly one label, such texts look like annotation errors.
ODD_TEXTS = 0.05
# From this share of the texts on, duplicates distort training.
DUPLICATES = 0.01
# A text this long, in characters and relative to the median, suggests a missing quote or newline.
OVERLONG = 20_000, 50

_TOO_HIGH = "so dev scores will be too high"
# What patterns in a text show; "{}" stands for the first match.
_DAMAGE = {
    "[ÂÃ][\x80-\xbf]|â€[\x80-\x9f™˜œ“”¦¢]|ðŸ[\x80-\xff]|ï»¿": (
        'UTF-8 that was decoded with another encoding, such as "{}"'
    ),
    "\ufffd": "the replacement character U+FFFD, left by a decoding error",
    "[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]": "control characters, such as {!a}",
    "(?i)&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{2,6}|#x[0-9a-f]{2,5});|<br ?/?>": 'HTML, such as "{}"',
}


def data_warnings(
    train: Sequence[Record], dev: Sequence[Record], *, train_name: str = "the training set"
) -> list[str]:
    """Find possible problems in labeled data.

    Args:
        train_name: What to call the first of the two.

    Returns:
        One sentence per problem, without a full stop. The run time is linear in the size of the
        data.
    """
    in_train = f"in {train_name}"
    found = [*overlap_warnings(train, dev), *_duplicates(in_train, train)]
    for where, part in ((in_train, train), ("in the dev set", dev)):
        found += chain(
            _conflicts(where, part),
            _empty_texts(where, part),
            _overlong_texts(where, part),
            _damaged_texts(where, part),
            _odd_texts(where, part),
            _shares(where, part),
        )
    return [*found, *_similar_labels(train), *_label_counts(in_train, train, dev)]


class _Matches:
    """The number of records with a problem, and the first of them."""

    def __init__(self, records: Iterable[Record]) -> None:
        found = iter(records)
        self.example = next(found, None)
        self.number = 0 if self.example is None else 1 + sum(1 for _ in found)

    def __bool__(self) -> bool:
        return self.example is not None

    @property
    def first(self) -> str:
        return "" if self.example is None else f"(first: {self.example.place})"


def with_text(records: Iterable[Record]) -> Iterator[Record]:
    """The records without those whose texts are empty, which would be copies of each other."""
    return (record for record in records if record.text.strip())


def _exact_key(text: str) -> int:
    """A hash that ignores whitespace. Hashes take less memory than texts."""
    return hash(fold(text))


def overlap_warnings(train: Iterable[Record], dev: Sequence[Record]) -> Iterator[str]:
    """Find texts of the dev set that are in the training set too: one sentence per kind."""
    texts, forms = set[int](), set[int]()
    for record in with_text(train):
        texts.add(_exact_key(record.text))
        forms.add(hash(normal_form(record.text)))
    of_all = f"of {plural(len(dev), 'text')} in the dev set"
    same = _Matches(record for record in dev if _exact_key(record.text) in texts)
    if same:
        yield (
            f"{same.number:,} {of_all} also {agree(same.number, 'occurs', 'occur')} in the "
            f"training set, {_TOO_HIGH} {same.first}"
        )
    similar = _Matches(
        record
        for record in dev
        if hash(normal_form(record.text)) in forms and _exact_key(record.text) not in texts
    )
    if similar:
        yield (
            f"{similar.number:,} {of_all} {agree(similar.number, 'differs', 'differ')} from texts "
            f"in the training set only in case or punctuation, {_TOO_HIGH} {similar.first}"
        )


def _duplicates(where: str, train: Sequence[Record]) -> Iterator[str]:
    times = Counter(_exact_key(record.text) for record in with_text(train))
    copies = times.total() - len(times)
    if copies < DUPLICATES * len(train) or not copies:
        return
    repeated = _Matches(record for record in train if times[_exact_key(record.text)] > 1)
    number = repeated.number - copies
    yield (
        f"{plural(number, 'text')} {where} {agree(number, 'occurs', 'occur')} more than once, "
        f"{repeated.number:,} times in total {repeated.first}"
    )


def _conflicts(where: str, records: Iterable[Record]) -> Iterator[str]:
    first: dict[int, Record] = {}
    conflicts: dict[int, tuple[Record, Record]] = {}
    for record in with_text(records):
        text = _exact_key(record.text)
        other = first.setdefault(text, record)
        if other.labels != record.labels:
            conflicts.setdefault(text, (other, record))
    if conflicts:
        one, other = next(iter(conflicts.values()))
        verb = agree(len(conflicts), "occurs", "occur")
        yield (
            f"{plural(len(conflicts), 'text')} {where} {verb} with different labels "
            f"(first: {_both(one, other)})"
        )


def _both(one: Record, other: Record) -> str:
    if one.unit == other.unit and one.unit:
        return f"{one.unit}s {one.line} and {other.line}"
    return f"{one.place} and {other.place}"


def _empty_texts(where: str, records: Iterable[Record]) -> Iterator[str]:
    empty = _Matches(record for record in records if not record.text.strip())
    if empty:
        verb = agree(empty.number, "is", "are")
        yield f"{plural(empty.number, 'text')} {where} {verb} empty {empty.first}"


def _overlong_texts(where: str, records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    at_least, times = OVERLONG
    typical = median(len(record.text) for record in records)
    limit = max(at_least, times * typical)
    long = _Matches(record for record in records if len(record.text) > limit)
    if long:
        yield (
            f"{plural(long.number, 'text')} {where} {agree(long.number, 'has', 'have')} more than "
            f"{limit:,.0f} characters (median: {typical:,.0f}): is a quote or newline missing? "
            f"{long.first}"
        )


def _damaged_texts(where: str, records: Sequence[Record]) -> Iterator[str]:
    for pattern, description in _DAMAGE.items():
        odd = _Matches(record for record in records if re.search(pattern, record.text))
        if odd.example is not None and (match := re.search(pattern, odd.example.text)):
            found = description.format(match[0])
            contain = agree(odd.number, "contains", "contain")
            yield f"{plural(odd.number, 'text')} {where} {contain} {found} {odd.first}"


def _odd_texts(where: str, records: Sequence[Record]) -> Iterator[str]:
    odd = _Matches(record for record in records if len(record.labels) != 1)
    if odd and odd.number <= ODD_TEXTS * len(records):
        without = sum(not record.labels for record in records)
        yield (
            f"{odd.number:,} of {plural(len(records), 'text')} {where} "
            f"{agree(odd.number, 'does', 'do')} not have exactly one label ({without:,} without "
            f"labels, {odd.number - without:,} with several), so labels are not exclusive "
            f"{odd.first}"
        )


def _shares(where: str, records: Iterable[Record]) -> Iterator[str]:
    shared = _Matches(
        record for record in records if any(0 < each < 1 for each in (record.cats or {}).values())
    )
    if shared:
        yield (
            f"{plural(shared.number, 'text')} {where} {agree(shared.number, 'has', 'have')} labels "
            f"with values between 0 and 1: training uses the values as they are; for scores, a "
            f"label counts from {GOLD_THRESHOLD} on {shared.first}"
        )


def _similar_labels(train: Iterable[Record]) -> Iterator[str]:
    similar: dict[str, list[str]] = {}
    for label in label_names(train):
        similar.setdefault(normal_form(label), []).append(label)
    for labels in similar.values():
        if len(labels) > 1:
            yield (
                f"The labels {' and '.join(labels)} differ only in case or punctuation: should "
                "they be one label?"
            )


def _label_counts(where: str, train: Sequence[Record], dev: Sequence[Record]) -> Iterator[str]:
    in_train = Counter(label for record in train for label in record.labels)
    in_dev = {label for record in dev for label in record.labels}
    names = label_names(train)
    few = sorted((in_train[label], label) for label in names if in_train[label] < RARE_LABEL)
    if few:
        yield (
            f"{plural(len(few), 'label', ('has', 'have'))} fewer than {RARE_LABEL} texts {where}: "
            f"{enumeration([f'{label} ({number})' for number, label in few])}"
        )
    for label, number in in_train.most_common(1):
        share = number / len(train)
        if number == len(train):
            yield f"Every text {where} has the label {label}: there is nothing to learn"
        elif share >= IMBALANCED:
            yield (
                f"{100 * share:.1f} % of the texts {where} have the label {label}: "
                "look at macro F instead of accuracy"
            )
    unseen = [label for label in names if label not in in_dev]
    if dev and unseen:
        labels_have = plural(len(unseen), "label", ("has", "have"))
        yield f"{labels_have} no text in the dev set: {enumeration(unseen)}"
