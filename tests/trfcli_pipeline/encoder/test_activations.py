import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.encoder.activations import Activations

# No deadline: times depend on the machine.
quick = settings(max_examples=60)

WIDTH, LAYERS, HEADS = 3, 2, 2
KINDS = ("pooler_output", "all_hidden_states", "all_attentions")

# The lengths of the segments of each Doc.
batches = st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5)


def make(lengths: list[int], kinds: set[str]) -> Activations:
    """Activations with distinct numbers."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        return rng.permutation(int(np.prod(shape))).astype("f").reshape(shape)

    n = sum(lengths)
    return Activations(
        last_hidden_state=floats(n, WIDTH),
        pooler_output=floats(len(lengths), WIDTH) if "pooler_output" in kinds else None,
        all_hidden_states=[floats(n, WIDTH) for _ in range(LAYERS + 1)]
        if "all_hidden_states" in kinds
        else None,
        all_attentions=[floats(LAYERS, HEADS, length, length) for length in lengths]
        if "all_attentions" in kinds
        else None,
        lengths=np.array(lengths, dtype=np.int32),
        segment_sums=floats(len(lengths), WIDTH),
    )


def assert_same(one: object, other: object) -> None:
    if isinstance(one, list) and isinstance(other, list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif one is None:
        assert other is None
    else:
        np.testing.assert_array_equal(one, other, strict=True)


@quick
@given(batches, st.sets(st.sampled_from(KINDS)))
def test_split_returns_the_part_of_each_doc(docs: list[list[int]], kinds: set[str]) -> None:
    whole = make([length for doc in docs for length in doc], kinds)
    parts = whole.split([len(doc) for doc in docs])
    piece = segment = 0
    for index, doc in enumerate(docs):
        pieces = slice(piece, piece + sum(doc))
        segments = slice(segment, segment + len(doc))
        piece, segment = pieces.stop, segments.stop
        expected = {
            "last_hidden_state": whole.last_hidden_state[pieces],
            "pooler_output": whole.pooler_output[segments] if "pooler_output" in kinds else None,
            "all_hidden_states": [layer[pieces] for layer in whole.all_hidden_states]
            if "all_hidden_states" in kinds
            else None,
            "all_attentions": whole.all_attentions[segments] if "all_attentions" in kinds else None,
            "segment_sums": whole.segment_sums[segments],
        }
        assert parts.keys() == expected.keys()
        for kind, values in expected.items():
            assert_same(parts[kind][index], values)


def test_the_parts_are_views() -> None:
    whole = make([2, 3], {"pooler_output", "all_hidden_states"})
    parts = whole.split([1, 1])
    assert np.shares_memory(parts["last_hidden_state"][0], whole.last_hidden_state)
    assert np.shares_memory(parts["pooler_output"][1], whole.pooler_output)
    assert np.shares_memory(parts["all_hidden_states"][1][0], whole.all_hidden_states[0])


def test_no_docs_have_no_parts() -> None:
    assert not any(make([], set()).split([]).values())


def test_an_empty_doc_has_empty_arrays() -> None:
    empty = {kind: parts[0] for kind, parts in make([2], set(KINDS)).split([0, 1]).items()}
    assert empty["last_hidden_state"].shape == (0, WIDTH)
    assert empty["pooler_output"].shape == (0, WIDTH)
    assert [layer.shape for layer in empty["all_hidden_states"]] == [(0, WIDTH)] * (LAYERS + 1)
    assert empty["all_attentions"] == []


@quick
@given(batches)
def test_too_many_segments_are_an_error(docs: list[list[int]]) -> None:
    whole = make([length for doc in docs for length in doc], set())
    n_segments = sum(map(len, docs))
    with pytest.raises(IndexError):
        whole.split([n_segments + 1])
