from collections import Counter
from collections.abc import Sequence
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import make_distinct, make_records

from trfcli_pipeline.data.duplicates import normal_form
from trfcli_pipeline.data.labels import check_labels
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.splitting import stratified_split


def split(records: list[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    train, dev = stratified_split(records, fraction, seed)
    return list(train), list(dev)


def label_counts(records: Sequence[Record]) -> Counter[str]:
    return Counter(label for record in records for label in record.labels)


def forms(records: list[Record]) -> set[str]:
    return {normal_form(record.text) for record in records}


fractions = st.floats(0.01, 0.9)
seeds = st.integers(0, 1000)
sizes = st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 60), min_size=1)
# Few words and labels, so that there are duplicate texts and rare labels.
any_records = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "A", ",", " ", "\n"]), max_size=6).map("".join),
        st.lists(st.sampled_from("ABCDE"), max_size=3).map(" ".join),
    ),
    max_size=40,
).map(lambda rows: make_records(*rows))


@given(any_records, fractions, seeds)
def test_split_is_a_partition_and_keeps_the_order(
    records: list[Record], fraction: float, seed: int
) -> None:
    train, dev = stratified_split(records, fraction, seed)
    lines = [record.line for record in train], [record.line for record in dev]
    assert sorted(lines[0] + lines[1]) == [record.line for record in records]
    assert lines == (sorted(lines[0]), sorted(lines[1]))


@given(any_records, fractions, seeds)
def test_no_text_of_dev_and_every_label_of_dev_is_in_train(
    records: list[Record], fraction: float, seed: int
) -> None:
    train, dev = stratified_split(records, fraction, seed)
    assert not forms(train) & forms(dev)
    assert label_counts(train).keys() == label_counts(records).keys()
    check_labels(train, dev, dev_name="dev")


@given(any_records, fractions, seeds)
def test_same_seed_gives_the_same_split(records: list[Record], fraction: float, seed: int) -> None:
    assert split(records, fraction, seed) == split(records, fraction, seed)


def test_another_seed_gives_another_split() -> None:
    records = make_distinct({"A": 50, "B": 50})
    splits = {tuple(r.line for r in stratified_split(records, 0.2, seed)[1]) for seed in range(5)}
    assert len(splits) == 5


@given(sizes, fractions, seeds)
def test_split_keeps_the_proportions_of_exclusive_labels(
    counts: dict[str, int], fraction: float, seed: int
) -> None:
    _, dev = stratified_split(make_distinct(counts), fraction, seed)
    for label, count in counts.items():
        share = count * fraction
        assert floor(share) <= label_counts(dev)[label] <= floor(share) + 1
        assert abs(label_counts(dev)[label] - share) <= 1


@given(sizes, fractions, seeds)
def test_dev_set_has_the_requested_size(counts: dict[str, int], fraction: float, seed: int) -> None:
    _, dev = stratified_split(make_distinct(counts), fraction, seed)
    asked = max(1, round(sum(count * fraction for count in counts.values())))
    most = sum(min(count - 1, floor(count * fraction) + 1) for count in counts.values())
    assert len(dev) == min(asked, most)


def test_many_small_labels_still_fill_the_dev_set() -> None:
    _, dev = stratified_split(make_distinct({f"L{number}": 4 for number in range(100)}), 0.1, 0)
    assert len(dev) == 40
    assert set(label_counts(dev).values()) == {1}


@settings(max_examples=30)
@given(seeds)
def test_split_keeps_the_proportions_of_multi_label_data(seed: int) -> None:
    # Co-occurring labels of very different frequency: on every 2nd, 3rd, 7th and 50th text.
    steps = {"A": 2, "B": 3, "C": 7, "D": 50}
    rows = [
        (f"text {number}", " ".join(label for label, step in steps.items() if number % step == 0))
        for number in range(1000)
    ]
    records = make_records(*rows)
    _, dev = stratified_split(records, 0.1, seed)
    assert len(dev) == pytest.approx(100, abs=20)
    for label, count in label_counts(records).items():
        assert label_counts(dev)[label] == pytest.approx(count / 10, abs=1)
    assert sum(not record.labels for record in dev) == pytest.approx(28.6, abs=1)


def test_duplicates_stay_in_train() -> None:
    records = make_records(("a  b", "A"), ("c", "A"), ("a b\n", "A"), ("d", "A"))
    for seed in range(10):
        train, dev = stratified_split(records, 0.5, seed)
        assert [record.text for record in dev] == ["c", "d"]
        assert [record.text for record in train] == ["a  b", "a b\n"]


def test_near_duplicates_stay_in_train() -> None:
    records = make_records(("Thank you!", "A"), ("c", "A"), ("thank you", "A"), ("d", "A"))
    for seed in range(10):
        _, dev = stratified_split(records, 0.5, seed)
        assert [record.text for record in dev] == ["c", "d"]


def test_last_record_of_a_label_stays_in_train() -> None:
    records = make_records(("a", "A"), ("b", "B"))
    assert split(records, 0.5, 0) == (records, [])
    # Holding out one text of A and one of B could leave no text for C.
    records = make_records(("a", "A"), ("ac", "A C"), ("bc", "B C"), ("b", "B"))
    for seed in range(20):
        train, dev = stratified_split(records, 0.5, seed)
        assert label_counts(train).keys() == {"A", "B", "C"}
        assert dev


def test_shares_are_rounded_by_the_largest_remainder_method() -> None:
    for seed in range(10):
        _, dev = stratified_split(make_distinct({"A": 14, "B": 16}), 0.1, seed)
        assert label_counts(dev) == {"A": 1, "B": 2}


def test_nothing_is_held_out_of_no_records_or_with_a_fraction_of_zero() -> None:
    records = make_distinct({"A": 10})
    assert split(records, 0, 0) == (records, [])
    assert split([], 0.5, 0) == ([], [])
