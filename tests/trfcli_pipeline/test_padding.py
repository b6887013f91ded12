import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.padding import WordPieces, divide, pad, pad_rows

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(0, 40), max_size=30).map(lambda each: np.array(each, np.int32))


@given(LENGTHS, st.integers(0, 200), st.booleans())
def test_each_segment_is_in_one_sub_batch(
    lengths: np.ndarray, words_per_batch: int, ignores_padding: bool
) -> None:
    groups = list(divide(lengths, words_per_batch, ignores_padding=ignores_padding))
    together = [segment for group in groups for segment in group.tolist()]
    assert sorted(together) == np.flatnonzero(lengths).tolist()
    for group in groups:
        own = lengths[group]
        if words_per_batch and len(group) > 1:
            assert len(group) * own.max() <= words_per_batch
        if not ignores_padding:
            assert len(set(own.tolist())) == 1


@given(LENGTHS.filter(lambda each: bool(each.any())), st.booleans())
def test_padding_loses_nothing(lengths: np.ndarray, typed: bool) -> None:
    n_pieces = int(lengths.sum())
    ids = np.arange(100, 100 + n_pieces)
    X = WordPieces(ids, lengths, np.arange(n_pieces) if typed else None)
    rows = np.random.default_rng(0).random((n_pieces, 3), dtype=np.float32)
    for segments in divide(lengths, 50, ignores_padding=True):
        batch = pad(X, segments, 7, CPU)
        padded = batch.inputs["input_ids"]
        assert padded.shape == (len(segments), lengths[segments].max())
        assert padded[batch.mask].tolist() == ids[batch.positions.numpy()].tolist()
        assert (padded[~batch.mask] == 7).all()
        for row, segment in enumerate(segments):
            start = lengths[:segment].sum()
            own = ids[start : start + lengths[segment]]
            # On the right.
            assert padded[row, : len(own)].tolist() == own.tolist()
        # No mask where there is nothing to mask.
        assert ("attention_mask" in batch.inputs) == (not bool(batch.mask.all()))
        assert ("token_type_ids" in batch.inputs) == typed
        laid_out = pad_rows(rows, batch)
        assert torch.equal(laid_out[batch.mask], torch.from_numpy(rows)[batch.positions])
        assert not laid_out[~batch.mask].any()
