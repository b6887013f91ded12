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


def make(lengths: list[int], kinds: set[str], *, is_grad: bool = False) -> Activations:
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
        is_grad=is_grad,
    )


def assert_equal(one: Activations, other: Activations) -> None:
    for name in ("last_hidden_state", "lengths", *KINDS):
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None), name
        if left is None:
            continue
        if isinstance(left, list):
            assert len(left) == len(right), name
        else:
            left, right = [left], [right]
        for a, b in zip(left, right, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, strict=True)
    assert one.is_grad == other.is_grad


@quick
@given(batches, st.sets(st.sampled_from(KINDS)), st.booleans())
def test_join_reverses_split(docs: list[list[int]], kinds: set[str], is_grad: bool) -> None:
    whole = make([length for doc in docs for length in doc], kinds, is_grad=is_grad)
    assert_equal(Activations.join(whole.split([len(doc) for doc in docs])), whole)


@quick
@given(batches, st.sets(st.sampled_from(KINDS)))
def test_split_returns_the_part_of_each_doc(docs: list[list[int]], kinds: set[str]) -> None:
    whole = make([length for doc in docs for length in doc], kinds)
    parts = whole.split([len(doc) for doc in docs])
    assert len(parts) == len(docs)
    piece = segment = 0
    for doc, part in zip(docs, parts, strict=True):
        pieces = slice(piece, piece + sum(doc))
        segments = slice(segment, segment + len(doc))
        piece, segment = pieces.stop, segments.stop
        expected = Activations(
            last_hidden_state=whole.last_hidden_state[pieces],
            pooler_output=whole.pooler_output[segments] if "pooler_output" in kinds else None,
            all_hidden_states=[layer[pieces] for layer in whole.all_hidden_states]
            if "all_hidden_states" in kinds
            else None,
            all_attentions=whole.all_attentions[segments] if "all_attentions" in kinds else None,
            lengths=np.array(doc, dtype=np.int32),
        )
        assert_equal(part, expected)


def test_the_parts_are_views() -> None:
    whole = make([2, 3], {"pooler_output", "all_hidden_states"})
    first, second = whole.split([1, 1])
    assert np.shares_memory(first.last_hidden_state, whole.last_hidden_state)
    assert np.shares_memory(second.pooler_output, whole.pooler_output)
    assert np.shares_memory(second.all_hidden_states[0], whole.all_hidden_states[0])


def test_no_docs_have_no_parts() -> None:
    assert make([], set()).split([]) == []


def test_an_empty_doc_has_empty_arrays() -> None:
    empty, _ = make([2], set(KINDS)).split([0, 1])
    assert empty.last_hidden_state.shape == (0, WIDTH)
    assert empty.pooler_output.shape == (0, WIDTH)
    assert [layer.shape for layer in empty.all_hidden_states] == [(0, WIDTH)] * (LAYERS + 1)
    assert empty.all_attentions == []
    assert empty.lengths.tolist() == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_a_part_lacks_is_none_when_joined(kind: str) -> None:
    whole = Activations.join([make([2], set(KINDS)), make([1], set(KINDS) - {kind})])
    assert getattr(whole, kind) is None
    assert all(getattr(whole, other) is not None for other in KINDS if other != kind)
    assert len(whole.last_hidden_state) == 3


def test_joining_an_empty_list_is_an_error() -> None:
    with pytest.raises(ValueError, match="width"):
        Activations.join([])


@quick
@given(batches)
def test_too_many_segments_are_an_error(docs: list[list[int]]) -> None:
    whole = make([length for doc in docs for length in doc], set())
    n_segments = sum(map(len, docs))
    with pytest.raises(IndexError):
        whole.split([n_segments + 1])
