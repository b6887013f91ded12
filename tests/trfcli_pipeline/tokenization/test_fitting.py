"""Windows of segments that are too long."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from segment_rows import NAMES, TEXTS, assert_same_sums, plain, rows_of
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel


def overlaps(doc: Doc, spans: list[tuple[int, int]]) -> list[list[int]]:
    """Align by comparing every token with every wordpiece."""
    return [
        [
            i
            for i, (start, end) in enumerate(spans)
            if start < end and start < token.idx + len(token) and end > token.idx
        ]
        for token in doc
    ]


def assert_windows(doc: Doc, tokenizer: Any, max_length: int) -> None:
    """Check the windows of a Doc that is a single segment."""
    added = tokenizer.num_special_tokens_to_add()
    whole = tokenizer(doc[:].text, split_special_tokens=True)["input_ids"]
    frame = tokenizer("")["input_ids"]
    n_ahead = next((i for i in range(added) if whole[i] != frame[i]), added)
    own, segments = [], doc._.trf_segments
    for _, _, pieces in rows_of(doc):
        ids = doc._.trf_word_pieces[pieces]
        assert len(ids) <= max_length
        assert len(ids) > added or not own
        tail = len(ids) - (added - n_ahead)
        assert ids[:n_ahead] + ids[tail:] == frame
        own += ids[n_ahead:tail]
    assert own == whole[n_ahead : len(whole) - (added - n_ahead)]
    # Tokens are in order and occur twice only if their wordpieces are divided.
    assert segments[0, 0] == 0
    assert segments[-1, 1] == len(doc)
    assert (segments[:, 0] < segments[:, 1]).all()
    for (start, end), (first, last) in pairwise(segments[:, :2].tolist()):
        assert start <= first <= end <= last
        if max_length - added > 1 and tokenizer.is_fast:
            assert end - 1 <= first
    window_of_piece = np.repeat(np.arange(len(segments)), segments[:, 2])
    for pieces in doc._.trf_alignment:
        if len({int(window_of_piece[piece]) for piece in pieces}) > 1:
            inside = pieces[-1] - pieces[0] + 1 - added * (len(pieces) > 1)
            assert len(pieces) > max_length - added or inside > len(pieces) - added


words = st.text(st.sampled_from("aeloŵ😀.'\u0301[SEP]"), min_size=1, max_size=12)
spaced = st.lists(words, min_size=1, max_size=20).map(" ".join)


@settings(max_examples=12)
@given(text=spaced, room=st.integers(1, 12))
@example(text="apple " * 20, room=1)
@example(text="😀😀 😀", room=1)
@example(text="a" * 100, room=3)
def test_windows_lose_nothing(make: Callable[..., Language], text: str, room: int) -> None:
    for name in NAMES:
        length = room + {"gpt2": 0}.get(name, 2)
        options = {"segments": "doc", "long_sentences": "window", "max_length": length}
        nlp = make(name, **options)
        doc = nlp(text)
        assert_windows(doc, plain(nlp), length)


@pytest.mark.parametrize("name", ["bert", "gpt2", "xlnet"])
@pytest.mark.parametrize("text", TEXTS)
def test_windows_are_aligned_by_characters(
    make: Callable[..., Language], name: str, text: str
) -> None:
    nlp = make(name, segments="doc", long_sentences="window", max_length=20)
    doc = nlp(text)
    whole = plain(nlp)(text, return_offsets_mapping=True, add_special_tokens=False)
    expected = overlaps(doc, whole["offset_mapping"])
    special = set(plain(nlp).all_special_ids) - {plain(nlp).unk_token_id}
    own = [i for i, id_ in enumerate(doc._.trf_word_pieces) if id_ not in special]
    number = {piece: i for i, piece in enumerate(own)}
    assert [[number[piece] for piece in pieces] for pieces in doc._.trf_alignment] == expected


def test_a_window_ends_between_tokens(make: Callable[..., Language]) -> None:
    nlp = make("bert", long_sentences="window", max_length=8)
    doc = nlp("apple apple apple apple delicious-reopened apple unbelievable")
    pieces = doc._.trf_alignment
    for first, end, part in rows_of(doc):
        for token in range(first, end):
            assert all(part.start < piece < part.stop - 1 for piece in pieces[token])
    assert len(doc._.trf_segments) == 2


@pytest.mark.parametrize("name", ["bert", "gpt2", "xlnet"])
def test_each_window_is_encoded_by_itself(make: Callable[..., Language], name: str) -> None:
    nlp = make(name, encoder=True, long_sentences="window", max_length=16)
    model = AutoModel.from_pretrained(nlp.get_pipe("trf_tok2vec").trf_name).eval()
    for doc in nlp.pipe(TEXTS):
        for first, end, pieces in rows_of(doc):
            ids = torch.tensor([doc._.trf_word_pieces[pieces]])
            with torch.inference_mode():
                expected = model(ids).last_hidden_state[0].numpy()
            hidden = doc._.trf_last_hidden_state[pieces]
            np.testing.assert_allclose(hidden, expected, atol=1e-4)
            if not doc._.trf_alignment[first] or doc._.trf_alignment[first][0] >= pieces.start:
                own = doc._.trf_alignment[first:end]
                if all(piece < pieces.stop for part in own for piece in part):
                    total = doc.tensor[first:end].sum(axis=0)
                    np.testing.assert_allclose(total, expected.sum(axis=0), atol=1e-3)
        assert_same_sums(doc)


def test_windows_do_not_change_other_sentences(make: Callable[..., Language]) -> None:
    truncated, windows = (make("bert", long_sentences=rule) for rule in ("truncate", "window"))
    one, other = (nlp(TEXTS[1]) for nlp in (truncated, windows))
    first, *_, last = rows_of(other)
    assert first == rows_of(one)[0]
    assert other._.trf_word_pieces[last[2]] == one._.trf_word_pieces[rows_of(one)[-1][2]]
    assert all(other._.trf_alignment)
    assert not all(one._.trf_alignment)
