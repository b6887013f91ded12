import re
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trfcli_pipeline.tokenization.doc_pieces import DocPieces, join_segments
from trfcli_pipeline.tokenization.encodings import Pieces
from trfcli_pipeline.tokenization.fitting import Rows
from trfcli_pipeline.tokenization.segments import Layout

Span = tuple[int, int]


def pieces(*spans: Span, ids: list[int] | None = None, type_ids: list[int] | None = None) -> Pieces:
    """Create wordpieces with the given spans; (0, 0) is a special token."""
    ids = list(range(10, 10 + len(spans))) if ids is None else ids
    return Pieces(
        ids=ids,
        type_ids=[0] * len(spans) if type_ids is None else type_ids,
        offsets=list(spans),
        sequence_ids=[None if start == end else 0 for start, end in spans],
    )


def laid_out(text: str, *encodings: Pieces, firsts: tuple[int, ...] = (0,)) -> tuple[Layout, Rows]:
    """Create a layout whose tokens are the words of the text."""
    spans = np.array([word.span() for word in re.finditer(r"\S+", text)], np.int64).reshape(-1, 2)
    layout = Layout(text, spans, np.array(firsts, np.int64))
    return layout, Rows(encodings, layout.firsts, layout.ends, layout.starts)


STRINGS = {id_: f"piece {id_}" for id_ in range(100)}
EMPTY = laid_out("", firsts=())
LOVE = laid_out("love it", pieces((0, 0), (0, 4), (5, 7), (0, 0)))
FILMS = laid_out("films", pieces((0, 0), (0, 4), (4, 5), (0, 0)))


def link(*docs: tuple[Layout, Rows], **options: Any) -> list[DocPieces]:
    layouts, rows = zip(*docs, strict=True)
    return join_segments(layouts, rows, STRINGS, **{"typed": True, **options})


def overlaps(layout: Layout, rows: Rows) -> list[list[int]]:
    """Link by comparing every token with every wordpiece."""
    spans = [
        (start + int(first), end + int(first))
        for encoding, first in zip(rows.encodings, rows.starts, strict=True)
        for start, end in encoding.offsets
    ]
    return [
        [token, piece]
        for token, (left, right) in enumerate(layout.token_spans.tolist())
        for piece, (start, end) in enumerate(spans)
        if start < end and start < right and end > left
    ]


def test_links_count_from_the_start_of_each_doc() -> None:
    love, films = link(LOVE, FILMS)
    assert love.links.tolist() == [[0, 1], [1, 2]]
    assert films.links.tolist() == [[0, 1], [0, 2]]
    assert love.links.dtype == films.links.dtype == np.int32


def test_segments_are_tokens_and_number_of_wordpieces() -> None:
    love, films = link(LOVE, FILMS)
    assert love.segments.tolist() == [[0, 2, 4]]
    assert films.segments.tolist() == [[0, 1, 4]]
    assert love.segments.dtype == np.int32


def test_offsets_count_from_the_start_of_their_segment() -> None:
    first, second = pieces((0, 0), (0, 1), (2, 3)), pieces((0, 0), (0, 1), (2, 4))
    (found,) = link(laid_out("a b c de", first, second, firsts=(0, 2)))
    assert found.links.tolist() == [[0, 1], [1, 2], [2, 4], [3, 5]]
    assert found.segments.tolist() == [[0, 2, 3], [2, 4, 3]]
    assert found.ids == first.ids + second.ids
    assert found.strings == [f"piece {id_}" for id_ in (*first.ids, *second.ids)]


def test_an_empty_doc_has_nothing() -> None:
    for found in (*link(EMPTY), link(LOVE, EMPTY, FILMS)[1]):
        assert (found.ids, found.strings, found.type_ids) == ([], [], None)
        assert found.links.shape == (0, 2)
        assert found.segments.shape == (0, 3)
    assert link(EMPTY, LOVE)[1].links.tolist() == link(LOVE)[0].links.tolist()


@st.composite
def random_docs(draw: st.DrawFn) -> tuple[Layout, Rows]:
    words = draw(st.lists(st.integers(1, 4), max_size=5))
    if not words:
        return EMPTY
    text = " ".join("x" * length for length in words)
    place = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(place, place).map(sorted).map(tuple), max_size=6))
    return laid_out(text, pieces(*spans))


@given(docs=st.lists(random_docs(), min_size=1, max_size=5))
def test_docs_of_a_batch_are_linked_with_their_own_characters_only(
    docs: list[tuple[Layout, Rows]],
) -> None:
    for found, doc in zip(link(*docs), docs, strict=True):
        assert found.links.tolist() == overlaps(*doc)
        assert sum(found.segments[:, 2].tolist()) == len(found.ids) == len(found.strings)


def test_the_alignment_can_be_left_out() -> None:
    layouts, rows = zip(LOVE, FILMS, strict=True)
    found = join_segments(layouts, rows, None, typed=True)
    assert all(each.links is None and each.strings is None for each in found)
    assert [each.ids for each in found] == [each.ids for each in link(LOVE, FILMS)]
    assert [each.segments.tolist() for each in found] == [[[0, 2, 4]], [[0, 1, 4]]]


def test_type_ids_are_set_only_if_they_differ() -> None:
    pair = laid_out("a b", pieces((0, 1), (2, 3), type_ids=[0, 1]))
    assert [each.type_ids for each in link(pair, LOVE)] == [[0, 1], None]
    assert [each.type_ids for each in link(pair, LOVE, typed=False)] == [None, None]


def test_unseen_tokens_are_returned() -> None:
    layout, rows = LOVE
    cut = Rows(rows.encodings, rows.firsts, rows.ends, rows.starts, np.array([1], np.int64))
    first, second = link((layout, cut), FILMS)
    assert first.unseen is not None
    assert first.unseen.tolist() == [1]
    assert first.unseen.dtype == np.int32
    assert second.unseen is None
