from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.encoder.grouping import AUTO, check_words_per_batch, group_by_length
from trfcli_pipeline.errors import PipelineError

# No deadline: times depend on the machine.
quick = settings(max_examples=60)

row_lengths = st.lists(st.integers(0, 60), max_size=40)


@quick
@given(row_lengths, st.integers(0, 200))
def test_every_row_is_in_exactly_one_group(lengths: list[int], words_per_batch: int) -> None:
    groups = group_by_length(lengths, words_per_batch)
    assert sorted(row for group in groups for row in group.tolist()) == list(range(len(lengths)))
    assert all(len(group) for group in groups)


@quick
@given(row_lengths, st.integers(1, 200))
def test_a_padded_group_is_within_the_budget_or_has_one_row(
    lengths: list[int], words_per_batch: int
) -> None:
    for group in group_by_length(lengths, words_per_batch):
        longest = max(lengths[row] for row in group)
        assert len(group) == 1 or len(group) * longest <= words_per_batch


def cost(lengths: list[int], sizes: tuple[int, ...]) -> int:
    """The cost of groups of these sizes, longest rows first: padded wordpieces + 100 per call."""
    rows = sorted((max(length, 1) for length in lengths), reverse=True)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return sum(100 + size * rows[start] for size, start in zip(sizes, starts, strict=True))


def all_sizes(n_rows: int) -> Iterator[tuple[int, ...]]:
    """The group sizes of all ways to split rows in order."""
    for cuts in product([False, True], repeat=n_rows - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [n_rows]
        yield tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


@quick
@given(st.lists(st.integers(0, 200), min_size=1, max_size=8), st.integers(1, 900))
def test_the_groups_have_the_lowest_cost(lengths: list[int], words_per_batch: int) -> None:
    rows = sorted(lengths, reverse=True)
    found = tuple(len(group) for group in group_by_length(lengths, words_per_batch))
    fitting = [
        sizes
        for sizes in all_sizes(len(lengths))
        if all(
            size == 1 or size * rows[sum(sizes[:i])] <= words_per_batch
            for i, size in enumerate(sizes)
        )
    ]
    assert cost(lengths, found) == min(cost(lengths, sizes) for sizes in fitting)


def test_much_shorter_rows_start_a_new_group() -> None:
    lengths = [100] * 3 + [80, 40, 40]
    assert [group.tolist() for group in group_by_length(lengths, 2000)] == [[0, 1, 2, 3], [4, 5]]


def test_a_few_short_rows_share_a_group_with_a_long_one() -> None:
    assert [len(group) for group in group_by_length([50, 1, 1], 2000)] == [3]


def test_groups_of_rows_of_equal_length_are_filled() -> None:
    assert [len(group) for group in group_by_length([2] * 8, 6)] == [3, 3, 2]


@quick
@given(row_lengths, st.integers(0, 200))
def test_the_longest_rows_come_first_in_stable_order(
    lengths: list[int], words_per_batch: int
) -> None:
    order = [row for group in group_by_length(lengths, words_per_batch) for row in group.tolist()]
    assert order == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@quick
@given(row_lengths.filter(bool))
def test_0_puts_all_rows_into_one_group(lengths: list[int]) -> None:
    assert len(group_by_length(lengths, 0)) == 1


def test_the_whole_budget_can_be_used() -> None:
    assert [len(group) for group in group_by_length([5, 5, 5], 10)] == [2, 1]
    assert [len(group) for group in group_by_length([5, 5, 5], 9)] == [1, 1, 1]


def test_padding_counts_towards_the_budget() -> None:
    # 6 + 1 wordpieces would fit, but not two padded rows of 6.
    assert [group.tolist() for group in group_by_length([1, 6], 7)] == [[1], [0]]


def test_a_row_longer_than_the_budget_has_its_own_group() -> None:
    groups = group_by_length([3, 100, 3], 10)
    assert [group.tolist() for group in groups] == [[1], [0, 2]]


@pytest.mark.parametrize("words_per_batch", [0, 1, 2000])
def test_no_rows_give_no_groups(words_per_batch: int) -> None:
    assert group_by_length([], words_per_batch) == []


@pytest.mark.parametrize("lengths", [[], [1, 2]])
def test_a_negative_budget_is_an_error(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        group_by_length(lengths, -1)


def test_groups_can_index_arrays() -> None:
    lengths = np.array([2, 9, 4], dtype=np.int32)
    (group,) = group_by_length(lengths, 0)
    assert lengths[group].tolist() == [9, 4, 2]


@quick
@given(st.lists(st.integers(0, 60), max_size=80), st.integers(1, 200))
def test_groups_may_start_at_a_few_rows_only(lengths: list[int], words_per_batch: int) -> None:
    groups = group_by_length(lengths, words_per_batch, max_starts=4)
    assert sorted(row for group in groups for row in group.tolist()) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[row] for row in group)
        assert len(group) == 1 or len(group) * longest <= words_per_batch
    few = group_by_length([1] * 100, 10**6, call_overhead=0, max_starts=4)
    assert len(few) == 1


def test_groups_are_larger_if_calls_take_long() -> None:
    lengths = [30] * 10 + [5] * 10
    assert len(group_by_length(lengths, 2000)) == 2
    assert len(group_by_length(lengths, 2000, call_overhead=4000)) == 1


@pytest.mark.parametrize("value", [0, 1, 2000, AUTO, None])
def test_words_per_batch_may_be_a_number_or_auto(value: int | str | None) -> None:
    check_words_per_batch(value)


@pytest.mark.parametrize("value", [-1, 1.5, True, "", "Auto", "2000"])
def test_other_values_of_words_per_batch_are_errors(value: object) -> None:
    with pytest.raises(PipelineError, match=f"words_per_batch: invalid value {value!r}") as caught:
        check_words_per_batch(value)
    assert '"auto"' in caught.value.hint
