from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.tokenization.alignment import (
    Alignment,
    indices_per_token,
    link_spans,
    links_from_indices,
    offsets_within,
)

# No deadline: the duration of an example depends on the machine.
quick = settings(max_examples=60)

Spans = list[tuple[int, int]]


@st.composite
def token_spans(draw: st.DrawFn) -> Spans:
    """Tokens as spaCy creates them: not empty, in order, with or without spaces between."""
    spans, start = [], 0
    for gap, size in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=8)):
        spans.append((start + gap, start + gap + size))
        start = spans[-1][1]
    return spans


# Tokenizers return spans in any order, overlapping, empty, and past the last token.
piece_spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda x: (x[0], x[0] + x[1])),
    max_size=12,
)


@st.composite
def alignments(draw: st.DrawFn) -> Alignment:
    """Alignments with wordpieces of several, one or no tokens, and with truncated tokens."""
    links: list[tuple[int, int]] = []
    segments: list[tuple[int, int, int]] = []
    token = piece = 0
    sizes = st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 6))
    for n_seen, n_truncated, n_pieces in draw(st.lists(sizes, max_size=4)):
        if n_pieces:
            pairs = st.tuples(st.integers(0, n_seen - 1), st.integers(0, n_pieces - 1))
            chosen = draw(st.sets(pairs, max_size=10))
            links += sorted((token + one, piece + other) for one, other in chosen)
        segments.append((token, token + n_seen, n_pieces))
        token, piece = token + n_seen + n_truncated, piece + n_pieces
    return Alignment(
        np.array(links, dtype=np.int32).reshape(-1, 2),
        np.array(segments, dtype=np.int32).reshape(-1, 3),
        token,
    )


def as_array(spans: Spans) -> np.ndarray:
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


@quick
@given(token_spans(), piece_spans)
def test_link_spans_links_what_overlaps(tokens: Spans, pieces: Spans) -> None:
    expected = [
        (token, piece)
        for token, (token_start, token_end) in enumerate(tokens)
        for piece, (piece_start, piece_end) in enumerate(pieces)
        if max(token_start, piece_start) < min(token_end, piece_end)
    ]
    links = link_spans(as_array(tokens), as_array(pieces))
    assert list(map(tuple, links.tolist())) == expected
    assert links.dtype == np.int32
    assert links.shape == (len(expected), 2)


def test_link_spans_of_a_text() -> None:
    # "I'm in": tokens I, 'm, in; pieces <s>, I'm, ▁ (the space), i, n, </s>
    tokens = [(0, 1), (1, 3), (4, 6)]
    pieces = [(0, 0), (0, 3), (3, 4), (4, 5), (5, 6), (0, 0)]
    links = link_spans(as_array(tokens), as_array(pieces))
    assert indices_per_token(links, 3) == [[1], [1], [3, 4]]


@quick
@given(st.lists(st.integers(0, 5)))
def test_offsets_within_count_up_in_each_group(counts: list[int]) -> None:
    expected = [offset for count in counts for offset in range(count)]
    assert offsets_within(np.array(counts, dtype=np.int64)).tolist() == expected


@quick
@given(st.lists(st.sets(st.integers(0, 20), max_size=4).map(sorted), max_size=10))
def test_lists_to_links_and_back(indices: list[list[int]]) -> None:
    links = links_from_indices(indices)
    assert links.dtype == np.int32
    assert len(links) == sum(map(len, indices))
    assert indices_per_token(links, len(indices)) == indices


@quick
@given(alignments())
def test_links_to_lists_and_back(alignment: Alignment) -> None:
    indices = indices_per_token(alignment.links, alignment.n_tokens)
    assert len(indices) == alignment.n_tokens
    np.testing.assert_array_equal(links_from_indices(indices), alignment.links)


def test_lists_are_sorted_and_deduplicated() -> None:
    assert links_from_indices([[3, 1, 3], [], [0]]).tolist() == [[0, 1], [0, 3], [2, 0]]


@quick
@given(alignments())
def test_n_pieces_counts_those_of_all_segments(alignment: Alignment) -> None:
    assert alignment.n_pieces == sum(row[2] for row in alignment.segments.tolist())
    assert isinstance(alignment.n_pieces, int)


@quick
@given(st.lists(alignments(), max_size=4))
def test_concatenate_equals_the_docs_one_by_one(docs: list[Alignment]) -> None:
    whole = Alignment.concatenate(docs)
    tokens_before = [0, *accumulate(doc.n_tokens for doc in docs)]
    pieces_before = [0, *accumulate(doc.n_pieces for doc in docs)]
    assert whole.n_tokens == tokens_before[-1]
    assert whole.n_pieces == pieces_before[-1]
    assert whole.links.tolist() == [
        [token + tokens_before[i], piece + pieces_before[i]]
        for i, doc in enumerate(docs)
        for token, piece in doc.links.tolist()
    ]
    assert whole.segments.tolist() == [
        [first + tokens_before[i], end + tokens_before[i], n_pieces]
        for i, doc in enumerate(docs)
        for first, end, n_pieces in doc.segments.tolist()
    ]
    assert whole.links.dtype == whole.segments.dtype == np.int32


@quick
@given(st.lists(alignments(), min_size=1, max_size=3))
def test_concatenate_leaves_its_arguments_alone(docs: list[Alignment]) -> None:
    before = [(doc.links.copy(), doc.segments.copy(), doc.n_tokens) for doc in docs]
    Alignment.concatenate(docs)
    for doc, (links, segments, n_tokens) in zip(docs, before, strict=True):
        np.testing.assert_array_equal(doc.links, links)
        np.testing.assert_array_equal(doc.segments, segments)
        assert doc.n_tokens == n_tokens


@quick
@given(alignments())
def test_a_link_carries_exactly_one_share_of_its_wordpiece(alignment: Alignment) -> None:
    shares = alignment.shares()
    pieces = alignment.links[:, 1].tolist()
    expected = [np.float32(1 / pieces.count(piece)) for piece in pieces]
    assert shares.weights.dtype == np.float32
    assert shares.weights.tolist() == expected
    np.testing.assert_array_equal(shares.pieces, alignment.links[:, 1])
    np.testing.assert_array_equal(shares.tokens, alignment.links[:, 0])
    assert shares.pieces_per_token.tolist() == [
        alignment.links[:, 0].tolist().count(token) for token in range(alignment.n_tokens)
    ]


@quick
@given(alignments())
def test_wordpieces_without_a_token_are_common_to_their_segment(alignment: Alignment) -> None:
    shares = alignment.shares()
    linked = set(alignment.links[:, 1].tolist())
    expected, per_segment, start = [], [], 0
    for n_pieces in alignment.segments[:, 2].tolist():
        own = [piece for piece in range(start, start + n_pieces) if piece not in linked]
        expected += own
        per_segment.append(len(own))
        start += n_pieces
    assert shares.common_pieces.tolist() == expected
    assert shares.common_per_segment.tolist() == per_segment


@quick
@given(alignments())
def test_common_wordpieces_are_shared_by_the_tokens_that_were_seen(alignment: Alignment) -> None:
    shares = alignment.shares()
    spans = alignment.segments[:, :2].tolist()
    assert shares.seen_tokens.tolist() == [i for first, end in spans for i in range(first, end)]
    assert shares.seen_per_segment.tolist() == [end - first for first, end in spans]
    assert shares.common_weights.dtype == np.float32
    assert shares.common_weights.tolist() == [np.float32(1 / (end - first)) for first, end in spans]


def test_shares_of_an_empty_doc() -> None:
    empty = Alignment(np.empty((0, 2), np.int32), np.empty((0, 3), np.int32), 0)
    shares = empty.shares()
    assert not len(shares.weights)
    assert not len(shares.common_pieces)
    assert not len(shares.pieces_per_token)


@pytest.mark.parametrize("links", [[[0, 0], [1, 0], [2, 0]], [[0, 0], [0, 1], [0, 2]]])
def test_three_tokens_of_a_wordpiece_and_three_wordpieces_of_a_token(
    links: list[list[int]],
) -> None:
    alignment = Alignment(np.array(links, dtype=np.int32), np.array([[0, 3, 3]], dtype=np.int32), 3)
    weights = alignment.shares().weights
    third = np.float32(1 / 3)
    assert weights.tolist() == ([third] * 3 if links[1][0] else [1.0] * 3)


def test_tokens_in_the_middle_of_a_segment_may_be_unseen() -> None:
    # A pair of two tokens each, with the separator between; the second of each is truncated.
    links = np.array([[0, 1], [3, 3]], dtype=np.int32)
    segments = np.array([[0, 4, 5]], dtype=np.int32)
    pair = Alignment(links, segments, 5, np.array([1], dtype=np.int32))
    plain = Alignment(np.array([[0, 1]], dtype=np.int32), np.array([[0, 1, 2]], dtype=np.int32), 1)
    whole = Alignment.concatenate([plain, pair, plain, pair])
    assert whole.unseen.tolist() == [2, 8]
    shares = whole.shares()
    assert shares.seen_tokens.tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    assert shares.seen_per_segment.tolist() == [1, 3, 1, 3]
    assert shares.common_weights.tolist() == [1, np.float32(1 / 3), 1, np.float32(1 / 3)]
    assert Alignment.concatenate([plain, plain]).unseen.tolist() == []
