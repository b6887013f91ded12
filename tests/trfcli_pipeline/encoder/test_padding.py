import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.encoder.padding import (
    WordPieces,
    first_occurrences,
    group_segments,
    pad,
    pad_rows,
)

LENGTHS = st.lists(st.integers(0, 40), max_size=30).map(lambda each: np.array(each, np.int32))


@given(LENGTHS, st.integers(0, 200), st.booleans())
def test_every_segment_is_in_exactly_one_sub_batch(
    lengths: np.ndarray, words_per_batch: int, ignores_padding: bool
) -> None:
    groups = list(group_segments(lengths, words_per_batch, ignores_padding=ignores_padding))
    together = [segment for group in groups for segment in group.tolist()]
    assert sorted(together) == np.flatnonzero(lengths).tolist()
    for group in groups:
        own = lengths[group]
        if words_per_batch and len(group) > 1:
            assert len(group) * own.max() <= words_per_batch
        if not ignores_padding:
            assert len(set(own.tolist())) == 1


@given(LENGTHS.filter(lambda each: bool(each.any())), st.booleans())
def test_padded_rows_contain_all_wordpieces(lengths: np.ndarray, typed: bool) -> None:
    n_pieces = int(lengths.sum())
    ids = np.arange(100, 100 + n_pieces)
    X = WordPieces(ids, lengths, np.arange(n_pieces) if typed else None)
    rows = np.random.default_rng(0).random((n_pieces, 3), dtype=np.float32)
    for segments in group_segments(lengths, 50, ignores_padding=True):
        batch = pad(X, segments, 7)
        padded = batch.inputs["input_ids"]
        assert padded.shape == (len(segments), lengths[segments].max())
        assert padded[batch.mask].tolist() == ids[batch.positions.numpy()].tolist()
        assert (padded[~batch.mask] == 7).all()
        for row, segment in enumerate(segments):
            start = lengths[:segment].sum()
            own = ids[start : start + lengths[segment]]
            # Padding is on the right.
            assert padded[row, : len(own)].tolist() == own.tolist()
        assert ("attention_mask" in batch.inputs) == (not bool(batch.mask.all()))
        assert ("token_type_ids" in batch.inputs) == typed
        laid_out = pad_rows(torch.from_numpy(rows), batch)
        assert torch.equal(laid_out[batch.mask], torch.from_numpy(rows)[batch.positions])
        assert not laid_out[~batch.mask].any()


@given(LENGTHS.filter(lambda each: bool(each.any())), st.booleans())
def test_the_halves_of_a_sub_batch_are_padded_anew(lengths: np.ndarray, typed: bool) -> None:
    n_pieces = int(lengths.sum())
    X = WordPieces(np.arange(n_pieces), lengths, np.arange(n_pieces) if typed else None)
    batch = pad(X, np.flatnonzero(lengths), 7)
    halves = batch.halve()
    assert bool(halves) == (len(batch.segments) > 1)
    parts = np.split(batch.segments, [len(batch.segments) // 2])
    for half, segments in zip(halves, parts[: len(halves)], strict=True):
        expected = pad(X, segments, 7)
        assert half.segments.tolist() == segments.tolist()
        assert torch.equal(half.positions, expected.positions)
        assert torch.equal(half.mask, expected.mask)
        assert torch.equal(half.places, expected.places)
        assert half.size == expected.size == expected.inputs["input_ids"].numel()
        assert half.inputs.keys() == expected.inputs.keys()
        assert all(torch.equal(half.inputs[key], expected.inputs[key]) for key in half.inputs)


@given(st.lists(st.sampled_from([(), (1,), (1, 2), (2, 1), (1, 2, 3)]), max_size=12))
def test_duplicates_point_to_the_first_occurrence(segments: list[tuple[int, ...]]) -> None:
    X = WordPieces(
        ids=np.array([each for segment in segments for each in segment], np.int64),
        lengths=np.array([len(segment) for segment in segments], np.int32),
    )
    assert first_occurrences(X).tolist() == [segments.index(segment) for segment in segments]


def test_segments_with_other_token_types_are_no_duplicates() -> None:
    X = WordPieces(np.array([1, 2, 1, 2, 1, 2]), np.array([2, 2, 2], "i"), np.array([0] * 5 + [1]))
    assert first_occurrences(X).tolist() == [0, 0, 2]
