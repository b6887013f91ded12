from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.tokenization.offsets import find_offsets, surfaces

words = st.lists(
    st.text(st.sampled_from("abcdéß中😀.,"), min_size=1, max_size=6), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(words=words, data=st.data())
def test_pieces_of_words_are_found_where_they_are(words: list[str], data: st.DataObject) -> None:
    text = "  ".join(words)
    pieces, expected, start = [], [], 0
    for word in words:
        cuts = data.draw(st.sets(st.integers(1, len(word)), max_size=2))
        bounds = sorted({0, len(word), *cuts})
        for left, right in pairwise(bounds):
            pieces.append(word[left:right])
            expected.append((start + left, start + right))
        start += len(word) + 2
    assert find_offsets(text, pieces) == expected


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        # Case, accents and compatibility forms.
        (
            "Zürich's CAFÉ",
            ["zu", "rich", "'", "s", "cafe"],
            [(0, 2), (2, 6), (6, 7), (7, 8), (9, 13)],
        ),
        ("ﬁne", ["fi", "ne"], [(0, 1), (1, 3)]),
        # Unknown pieces: between their neighbors, at either end, as many as words or characters.
        ("I love 😀 it", ["I", "love", None, "it"], [(0, 1), (2, 6), (7, 8), (9, 11)]),
        ("😀 love", [None, "love"], [(0, 1), (2, 6)]),
        ("love 😀😀", ["love", None], [(0, 4), (5, 7)]),
        ("a 中文 ab b", ["a", None, None, "b"], [(0, 1), (2, 4), (5, 7), (8, 9)]),
        ("a 中文 b", ["a", None, None, "b"], [(0, 1), (2, 3), (3, 4), (5, 6)]),
        ("中文字", [None, None], [(0, 3), (0, 3)]),
        # Marks stand for nothing, unless something is left that they could stand for.
        ("a 😀", ["a", "", None], [(0, 1), (1, 1), (2, 3)]),
        ("a b", ["a", "", "b"], [(0, 1), (1, 1), (2, 3)]),
        ("a 😀 b", ["a", "", "", "b"], [(0, 1), (2, 3), (2, 3), (4, 5)]),
        ("", [], []),
        ("", [None], [(0, 0)]),
        ("   ", [None], [(0, 0)]),
    ],
)
def test_offsets(text: str, pieces: list[str | None], expected: list[tuple[int, int]]) -> None:
    assert find_offsets(text, pieces) == expected


@settings(max_examples=60)
@given(st.text(max_size=30), st.lists(st.none() | st.text(max_size=5), max_size=10))
def test_offsets_are_always_within_the_text(text: str, pieces: list[str | None]) -> None:
    spans = find_offsets(text, pieces)
    assert len(spans) == len(pieces)
    assert all(0 <= start <= end <= len(text) for start, end in spans)


def test_surfaces_are_without_marks(family_encoder: Callable[[str], Path]) -> None:
    japanese = pretrained.load_tokenizer(family_encoder("bert-japanese"))
    tokens = ["lo", "##ve", "[UNK]", "lo"]
    ids = japanese.convert_tokens_to_ids(tokens)
    assert surfaces(japanese, tokens, ids) == ["lo", "ve", None, "lo"]
    assert surfaces(japanese, [], []) == []
    generation = pretrained.load_tokenizer(family_encoder("bert-generation"))
    word = next(token for token in generation.get_vocab() if token[0] == "▁" and len(token) > 1)
    tokens = [word, "o", "▁", "<unk>"]
    ids = generation.convert_tokens_to_ids(tokens)
    assert surfaces(generation, tokens, ids) == [word[1:], "o", "", None]
