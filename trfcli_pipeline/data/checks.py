"""What is odd about texts and labels that a classifier is to be trained on."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from statistics import median

from trfcli_pipeline.data.labels import fold, label_names, listed, normal_form
from trfcli_pipeline.data.records import Record

# Below this many texts, a label is rarely learnt.
FEW_TEXTS = 10
# From this share on, always guessing the commonest label looks like a good result.
ONE_SIDED = 0.9
# Up to this share, texts without exactly one label look like slips in otherwise exclusive labels.
SLIPS = 0.05
# From this share on, copies of a text weigh on training.
COPIES = 0.01
# So many characters, and times the median, are rather a lost quote or line end than a text.
OVERLONG = 20_000, 50

_MOJIBAKE = re.compile("[ÂÃ][\x80-\xbf]|â€[\x80-\x9f™˜œ“”¦¢]|ðŸ[\x80-\xff]|ï»¿")
_LOST = re.compile("\ufffd")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_HTML = re.compile("&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{2,6}|#x[0-9a-f]{2,5});|<br ?/?>", re.I)


def remarks(train: Sequence[Record], dev: Sequence[Record]) -> list[str]:
    """What is worth knowing before training, one sentence each, without a full stop.

    Each looks at every text once, so the time grows with their number and length.
    """
    found = [*_overlap(train, dev), *_copies(train)]
    for name, part in (("train", train), ("dev", dev)):
        found += chain(
            _conflicts(name, part),
            _empty_texts(name, part),
            _overlong_texts(name, part),
            _encodings(name, part),
            _slips(name, part),
        )
    return [*found, *_like_labels(train), *_counts(train, dev)]


class _Found:
    """How many records something is true of, and the first of them."""

    def __init__(self, records: Iterable[Record]) -> None:
        found = iter(records)
        self.example = next(found, None)
        self.number = 0 if self.example is None else 1 + sum(1 for _ in found)

    def __bool__(self) -> bool:
        return self.example is not None

    @property
    def first(self) -> str:
        return "" if self.example is None else f"(first: line {self.example.line})"


def _same(text: str) -> int:
    """The same number for texts that only differ in white space.

    A hash, so that what is remembered of a text doesn't grow with its length.
    """
    return hash(fold(text))


def _like(text: str) -> int:
    """The same number for texts of the same `normal_form`."""
    return hash(normal_form(text))


def _overlap(train: Iterable[Record], dev: Sequence[Record]) -> Iterator[str]:
    texts, forms = set[int](), set[int]()
    for record in train:
        texts.add(_same(record.text))
        forms.add(_like(record.text))
    same = _Found(record for record in dev if _same(record.text) in texts)
    if same:
        verb = "occurs" if same.number == 1 else "occur"
        yield (
            f"{same.number:,} of {_texts(len(dev))} in dev {verb} in train too, "
            f"which makes scores on dev too good {same.first}"
        )
    like = _Found(
        record for record in dev if _like(record.text) in forms and _same(record.text) not in texts
    )
    if like:
        verb = "differs" if like.number == 1 else "differ"
        yield (
            f"{like.number:,} of {_texts(len(dev))} in dev {verb} only in case or punctuation from "
            f"texts in train, which makes scores on dev too good {like.first}"
        )


def _copies(train: Sequence[Record]) -> Iterator[str]:
    times = Counter(_same(record.text) for record in train)
    copies = len(train) - len(times)
    if copies < COPIES * len(train) or not copies:
        return
    repeated = _Found(record for record in train if times[_same(record.text)] > 1)
    number = len(times) - len(train) + repeated.number
    verb = "occurs" if number == 1 else "occur"
    yield (
        f"{_texts(number)} in train {verb} more than once, {repeated.number:,} times in all "
        f"{repeated.first}"
    )


def _conflicts(name: str, records: Iterable[Record]) -> Iterator[str]:
    first: dict[int, tuple[frozenset[str], int]] = {}
    conflicts: dict[int, tuple[int, int]] = {}
    for record in records:
        text = _same(record.text)
        labels, line = first.setdefault(text, (record.labels, record.line))
        if labels != record.labels:
            conflicts.setdefault(text, (line, record.line))
    if conflicts:
        one, other = min(conflicts.values())
        verb = "occurs" if len(conflicts) == 1 else "occur"
        yield (
            f"{_texts(len(conflicts))} in {name} {verb} with different labels "
            f"(first: lines {one} and {other})"
        )


def _empty_texts(name: str, records: Iterable[Record]) -> Iterator[str]:
    empty = _Found(record for record in records if not record.text.strip())
    if empty:
        verb = "is" if empty.number == 1 else "are"
        yield f"{_texts(empty.number)} in {name} {verb} empty {empty.first}"


def _overlong_texts(name: str, records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    at_least, times = OVERLONG
    typical = median(len(record.text) for record in records)
    limit = max(at_least, times * typical)
    long = _Found(record for record in records if len(record.text) > limit)
    if long:
        verb = "has" if long.number == 1 else "have"
        yield (
            f"{_texts(long.number)} in {name} {verb} more than {limit:,.0f} characters, where half "
            f"have at most {typical:,.0f}: is a quote or line end missing? {long.first}"
        )


def _encodings(name: str, records: Sequence[Record]) -> Iterator[str]:
    for pattern, describe in _ENCODINGS:
        odd = _Found(record for record in records if pattern.search(record.text))
        if odd.example is not None and (match := pattern.search(odd.example.text)):
            verb = "has" if odd.number == 1 else "have"
            yield f"{_texts(odd.number)} in {name} {verb} {describe(match[0])} {odd.first}"


def _describe_mojibake(found: str) -> str:
    return f'characters of UTF-8 that were read in another encoding, such as "{found}"'


def _describe_lost(_: str) -> str:
    return "U+FFFD, which stands for a character that was lost"


def _describe_control(found: str) -> str:
    return f"control characters, such as U+{ord(found):04X}"


def _describe_html(found: str) -> str:
    return f'HTML that was not decoded, such as "{found}"'


_ENCODINGS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (_MOJIBAKE, _describe_mojibake),
    (_LOST, _describe_lost),
    (_CONTROLS, _describe_control),
    (_HTML, _describe_html),
)


def _slips(name: str, records: Sequence[Record]) -> Iterator[str]:
    odd = _Found(record for record in records if len(record.labels) != 1)
    if odd and odd.number <= SLIPS * len(records):
        without = sum(not record.labels for record in records)
        verb = "doesn't" if odd.number == 1 else "don't"
        yield (
            f"{odd.number:,} of {_texts(len(records))} in {name} {verb} have exactly one label "
            f"({without:,} none, {odd.number - without:,} several), so labels are not exclusive "
            f"{odd.first}"
        )


def _like_labels(train: Iterable[Record]) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for label in label_names(train):
        alike.setdefault(normal_form(label), []).append(label)
    for labels in alike.values():
        if len(labels) > 1:
            yield f"{' and '.join(labels)} differ only in case or punctuation: is one label meant?"


def _counts(train: Sequence[Record], dev: Sequence[Record]) -> Iterator[str]:
    in_train = Counter(label for record in train for label in record.labels)
    in_dev = {label for record in dev for label in record.labels}
    names = label_names(train)
    few = sorted((in_train[label], label) for label in names if in_train[label] < FEW_TEXTS)
    if few:
        found = listed([f"{label} ({number})" for number, label in few])
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
        yield f"{len(unseen):,} {verb} no text in dev: {listed(unseen)}"


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number:,} texts"
