from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.tokenization.encodings import Pieces, encode, find_mistakable

SLOW = ["bert-japanese", "bert-generation"]


@pytest.fixture(scope="module", params=SLOW)
def slow(request: pytest.FixtureRequest, family_encoder: Callable[[str], Path]) -> Path:
    return family_encoder(request.param)


@pytest.mark.parametrize("limit", [None, 4, 8])
def test_slow_tokenizers_encode_as_they_do(slow: Path, limit: int | None) -> None:
    tokenizer, plain = pretrained.load_tokenizer(slow), AutoTokenizer.from_pretrained(slow)
    texts = ["", "I love this film", "Zürich's 😀 x", ("I love it", "the dog jumps over")]
    for text, encoding in zip(texts, encode(tokenizer, texts, limit), strict=True):
        expected = plain(
            *([text] if isinstance(text, str) else text),
            truncation=limit is not None,
            max_length=limit,
            return_token_type_ids=True,
            return_special_tokens_mask=True,
        )
        assert encoding.ids == expected["input_ids"]
        assert encoding.type_ids == expected["token_type_ids"]
        special = [int(sequence is None) for sequence in encoding.sequence_ids]
        assert special == expected["special_tokens_mask"]
        (whole,) = encode(tokenizer, [text], None)
        assert bool(encoding.overflowing) == (len(encoding) < len(whole))
        assert len(encoding.offsets) == len(encoding)


def test_overflowing_wordpieces_are_kept(slow: Path) -> None:
    tokenizer = pretrained.load_tokenizer(slow)
    text = "I love this film, it is great fun."
    (whole,), (cut,) = (encode(tokenizer, [text], limit) for limit in (None, 6))
    joined = Pieces.join([cut, *cut.overflowing])
    assert own(joined) == own(whole)


def own(encoding: Any) -> list[tuple[int, Any]]:
    rows = zip(encoding.ids, encoding.offsets, encoding.sequence_ids, strict=True)
    return [(id_, span) for id_, span, sequence in rows if sequence is not None]


@pytest.mark.parametrize("name", ["bert-japanese", "bert-generation", "bert", "xlnet", "roberta"])
@pytest.mark.parametrize("paired", [False, True])
def test_special_tokens_in_a_text_are_text(
    family_encoder: Callable[[str], Path], name: str, paired: bool
) -> None:
    tokenizer = pretrained.load_tokenizer(family_encoder(name))
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    text = "love " + " ".join(tokenizer.all_special_tokens) + "".join(tokenizer.all_special_tokens)
    mistakable = find_mistakable(tokenizer)
    assert mistakable or name in ("bert", "roberta")
    (encoding,) = encode(tokenizer, [(text, text) if paired else text], None, mistakable)
    assert len(encoding) > 10
    rows = zip(encoding.ids, encoding.sequence_ids, strict=True)
    assert not special & {id_ for id_, sequence in rows if sequence is not None}


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=20) | st.tuples(st.text(max_size=9), st.text(max_size=9))))
def test_texts_and_pairs_are_returned_in_order(
    family_encoder: Callable[[str], Path], texts: list[Any]
) -> None:
    tokenizer = pretrained.load_tokenizer(family_encoder("roberta"))
    together = encode(tokenizer, texts, None)
    assert [each.ids for each in together] == [
        encode(tokenizer, [text], None)[0].ids for text in texts
    ]


def test_long_pairs_need_no_memory(family_encoder: Callable[[str], Path]) -> None:
    # encode_batch would combine the overflow of one text with every part of the other.
    tokenizer = pretrained.load_tokenizer(family_encoder("bert"))
    pretrained.encode_whole(tokenizer, 8)
    (encoding,) = encode(tokenizer, [("apple " * 20_000, "pie " * 20_000)], 8)
    assert len(encoding) == 8
    assert len(encoding.overflowing) < 20


def test_select_and_join() -> None:
    one = Pieces([1, 2], [0, 0], [(0, 1), (1, 2)], [0, None])
    other = Pieces([3], [1], [(0, 1)], [1])
    joined = Pieces.join([one, other])
    assert joined.ids == [1, 2, 3]
    assert len(joined) == 3
    picked = Pieces.select(joined, [2, 0])
    assert picked == Pieces([3, 1], [1, 0], [(0, 1), (0, 1)], [1, 0])
