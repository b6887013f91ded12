from collections import Counter
from collections.abc import Sequence
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import make_distinct, make_records

from trfcli_pipeline.data.labels import (
    check_labels,
    complete_cats,
    is_exclusive,
    label_names,
    normal_form,
    stratified_split,
)
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError


def split(records: list[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    train, dev = stratified_split(records, fraction, seed)
    return list(train), list(dev)


def counted(records: Sequence[Record]) -> Counter[str]:
    return Counter(label for record in records for label in record.labels)


def forms(records: list[Record]) -> set[str]:
    return {normal_form(record.text) for record in records}


fractions = st.floats(0.01, 0.9)
seeds = st.integers(0, 1000)
sizes = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 60), min_size=1)
# Few words and few labels, so that texts repeat and labels are rare.
any_records = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "A", ",", " ", "\n"]), max_size=6).map("".join),
        st.lists(st.sampled_from("ABCDE"), max_size=3).map(" ".join),
    ),
    max_size=40,
).map(lambda rows: make_records(*rows))


@given(any_records, fractions, seeds)
def test_split_is_a_partition_in_order(records: list[Record], fraction: float, seed: int) -> None:
    train, dev = stratified_split(records, fraction, seed)
    lines = [record.line for record in train], [record.line for record in dev]
    assert sorted(lines[0] + lines[1]) == [record.line for record in records]
    assert lines == (sorted(lines[0]), sorted(lines[1]))


@given(any_records, fractions, seeds)
def test_split_leaks_no_text_and_no_label(
    records: list[Record], fraction: float, seed: int
) -> None:
    train, dev = stratified_split(records, fraction, seed)
    assert not forms(train) & forms(dev)
    assert counted(train).keys() == counted(records).keys()
    check_labels(train, dev, dev_name="dev")


@given(any_records, fractions, seeds)
def test_same_seed_gives_the_same_split(records: list[Record], fraction: float, seed: int) -> None:
    assert split(records, fraction, seed) == split(records, fraction, seed)


def test_another_seed_gives_another_split() -> None:
    records = make_distinct({"A": 50, "B": 50})
    splits = {tuple(r.line for r in stratified_split(records, 0.2, seed)[1]) for seed in range(5)}
    assert len(splits) == 5


@given(sizes, fractions, seeds)
def test_exclusive_labels_keep_their_proportions(
    counts: dict[str, int], fraction: float, seed: int
) -> None:
    _, dev = stratified_split(make_distinct(counts), fraction, seed)
    for label, count in counts.items():
        share = count * fraction
        assert floor(share) <= counted(dev)[label] <= floor(share) + 1
        assert abs(counted(dev)[label] - share) <= 1


@given(sizes, fractions, seeds)
def test_dev_is_as_large_as_asked_for(counts: dict[str, int], fraction: float, seed: int) -> None:
    _, dev = stratified_split(make_distinct(counts), fraction, seed)
    asked = max(1, round(sum(count * fraction for count in counts.values())))
    most = sum(min(count - 1, floor(count * fraction) + 1) for count in counts.values())
    assert len(dev) == min(asked, most)


def test_many_small_classes_still_fill_dev() -> None:
    _, dev = stratified_split(make_distinct({f"L{number}": 4 for number in range(100)}), 0.1, 0)
    assert len(dev) == 40
    assert set(counted(dev).values()) == {1}


@settings(max_examples=30)
@given(seeds)
def test_several_labels_keep_their_proportions(seed: int) -> None:
    # Labels of very different frequency that go together: every 2nd, 3rd, 7th and 50th text.
    steps = {"A": 2, "B": 3, "C": 7, "D": 50}
    rows = [
        (f"text {number}", " ".join(label for label, step in steps.items() if number % step == 0))
        for number in range(1000)
    ]
    records = make_records(*rows)
    _, dev = stratified_split(records, 0.1, seed)
    assert len(dev) == pytest.approx(100, abs=20)
    for label, count in counted(records).items():
        assert counted(dev)[label] == pytest.approx(count / 10, abs=1)
    assert sum(not record.labels for record in dev) == pytest.approx(28.6, abs=1)


def test_repeated_texts_stay_in_train() -> None:
    records = make_records(("a  b", "A"), ("c", "A"), ("a b\n", "A"), ("d", "A"))
    for seed in range(10):
        train, dev = stratified_split(records, 0.5, seed)
        assert [record.text for record in dev] == ["c", "d"]
        assert [record.text for record in train] == ["a  b", "a b\n"]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Thank you!", " thank\tyou ", True),
        ("It’s “fine”", "It's fine...", True),
        ("STRASSE", "Straße", True),
        ("C++ or C#?", "C or C?", False),
        ("3 apples", "4 apples", False),
        ("कि", "का", False),
        ("?!", "...", False),
        ("?!", " ?! ", True),
    ],
)
def test_normal_form(one: str, other: str, alike: bool) -> None:
    assert (normal_form(one) == normal_form(other)) is alike


def test_texts_that_are_nearly_the_same_stay_in_train() -> None:
    records = make_records(("Thank you!", "A"), ("c", "A"), ("thank you", "A"), ("d", "A"))
    for seed in range(10):
        _, dev = stratified_split(records, 0.5, seed)
        assert [record.text for record in dev] == ["c", "d"]


def test_last_record_of_a_label_stays_in_train() -> None:
    records = make_records(("a", "A"), ("b", "B"))
    assert split(records, 0.5, 0) == (records, [])
    # A and B could each give away one of their two texts such that none is left for C.
    records = make_records(("a", "A"), ("ac", "A C"), ("bc", "B C"), ("b", "B"))
    for seed in range(20):
        train, dev = stratified_split(records, 0.5, seed)
        assert counted(train).keys() == {"A", "B", "C"}
        assert dev


def test_what_rounding_leaves_goes_to_the_largest_remainder() -> None:
    for seed in range(10):
        _, dev = stratified_split(make_distinct({"A": 14, "B": 16}), 0.1, seed)
        assert counted(dev) == {"A": 1, "B": 2}


def test_fraction_of_nothing_and_out_of_range() -> None:
    records = make_distinct({"A": 10})
    assert split(records, 0, 0) == (records, [])
    assert split([], 0.5, 0) == ([], [])
    for fraction in (1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            stratified_split(records, fraction, 0)


def test_label_names_are_all_that_are_mentioned() -> None:
    records = [
        Record("", {"b": 0.0, "a": 1.0}, 1),
        Record("", {}, 2),
        Record("", None, 3),
        Record("", {"C": 0.5}, 4),
    ]
    assert label_names(records) == ["C", "a", "b"]


@pytest.mark.parametrize(
    ("cats", "exclusive"),
    [
        ([{"A": 1.0}, {"B": 1.0}], True),
        ([{"A": 0.6, "B": 0.4}, {"A": 0.0, "B": 0.5}], True),
        ([{"A": 1.0}, {}], False),
        ([{"A": 1.0}, None], False),
        ([{"A": 1.0}, {"A": 0.0}], False),
        ([{"A": 1.0, "B": 1.0}], False),
        ([], False),
    ],
)
def test_exclusive_means_one_label_each(
    cats: list[dict[str, float] | None], exclusive: bool
) -> None:
    assert is_exclusive([Record("", given, 1) for given in cats]) is exclusive


@pytest.mark.parametrize(
    ("cats", "partial", "exclusive", "expected"),
    [
        ({"A": 1.0}, False, True, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, True, True, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, False, False, {"A": 1.0, "B": 0.0}),
        ({"A": 1.0}, True, False, {"A": 1.0}),
        ({}, False, False, {"A": 0.0, "B": 0.0}),
        ({}, True, False, {}),
        ({"B": 0.3, "C": 1.0}, True, False, {"B": 0.3}),
        (None, False, True, {}),
    ],
)
def test_completed_cats(
    cats: dict[str, float] | None, partial: bool, exclusive: bool, expected: dict[str, float]
) -> None:
    record = Record("", cats, 1, partial=partial)
    assert complete_cats(record, ["A", "B"], exclusive) == expected


def test_labels_that_only_dev_has() -> None:
    train = make_records(("a", "HAM"), ("b", "SPAM"))
    check_labels(train, make_records(("c", "SPAM")), dev_name="dev.jsonl")
    # A label that does not hold asks nothing of the model.
    check_labels(train, [Record("c", {"EGGS": 0.0}, 1)], dev_name="dev.jsonl")

    dev = make_records(("c", "HAM"), ("d", "Spam"), ("e", "EGGS HAM"), ("f", "EGGS"))
    with pytest.raises(DataError) as caught:
        check_labels(train, dev, dev_name="dev.jsonl")
    assert caught.value.message == (
        "dev.jsonl: 2 labels are not in the training data: Spam (line 2), EGGS (line 3)"
    )
    assert caught.value.hint == (
        "Did you mean SPAM by Spam? "
        "Add such texts to the training data, or take them out of dev.jsonl"
    )


def test_one_label_and_many_labels_that_only_dev_has() -> None:
    train = make_records(("a", "A"))
    with pytest.raises(DataError, match="1 label is not in the training data: XXX"):
        check_labels(train, make_records(("b", "XXX")), dev_name="dev")
    dev = make_records(*((f"{number}", f"L{number}") for number in range(8)))
    with pytest.raises(DataError, match=r"8 labels are .*: L0 .*, L4 \(line 5\) and 3 more"):
        check_labels(train, dev, dev_name="dev")
