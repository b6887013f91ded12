"""Pairs of texts."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from segment_rows import LONG, NAMES, TEXTS, assert_same_sums, plain
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel

PAIRS = [
    ("A man plays a guitar.", "The dog jumps over the fox. Nobody plays!"),
    ("I love it", ""),
    ("", "I love it"),
    ("  spaces \n", "\t around "),
    (LONG, "I love apple pie."),
    ("I love apple pie.", LONG),
    (LONG, LONG),
    (LONG[:-3], LONG * 2),
    ("e\u0301 cafés", "😀 中文"),
]


@pytest.mark.parametrize("name", [*NAMES, "roberta", "bert-generation", "deberta-v2"])
def test_pairs_equal_those_of_plain_transformers(make: Callable[..., Language], name: str) -> None:
    nlp = make(name, encoder=True, separator="|||", max_length=32)
    tokenizer = plain(nlp)
    model = AutoModel.from_pretrained(nlp.get_pipe("trf_tok2vec").trf_name).eval()
    # Only the slow tokenizers of transformers create a pair with an empty text.
    pairs = [pair for pair in PAIRS if tokenizer.is_fast or pair[1]]
    docs = nlp.pipe([f"{first} ||| {second}" for first, second in pairs])
    for (first, second), doc in zip(pairs, docs, strict=True):
        inputs = tokenizer(
            first.rstrip(),
            second.lstrip(),
            truncation="longest_first",
            max_length=32,
            split_special_tokens=True,
            return_tensors="pt",
        )
        assert doc._.trf_word_pieces == inputs["input_ids"][0].tolist()
        assert len(doc._.trf_segments) == 1
        types = inputs.get("token_type_ids")
        expected_types = None if types is None or not types.any() else types[0].tolist()
        assert doc._.trf_token_type_ids == expected_types
        with torch.inference_mode():
            expected = model(**inputs).last_hidden_state[0].numpy()
        np.testing.assert_allclose(doc._.trf_last_hidden_state, expected, atol=1e-4)
        assert_same_sums(doc)


def test_only_some_encoders_use_token_type_ids(make: Callable[..., Language]) -> None:
    bert, roberta = (make(name, separator="|||")("a ||| b") for name in ("bert", "roberta"))
    assert bert._.trf_token_type_ids == [0, 0, 0, 1, 1]
    assert roberta._.trf_token_type_ids is None
    assert roberta._.trf_word_pieces_[2:4] == ["</s>", "</s>"]


def test_the_separator_has_no_wordpieces(make: Callable[..., Language]) -> None:
    doc = make("bert", encoder=True, separator="|||")("I love it. ||| The dog.")
    texts = [token.text for token in doc]
    separator = [i for i, text in enumerate(texts) if "|" in text]
    assert separator
    for i, (token, pieces) in enumerate(zip(doc, doc._.trf_alignment, strict=True)):
        assert bool(pieces) == (i not in separator)
        # The separator has its share of the special tokens.
        assert doc.tensor[i].any()
        assert "".join(doc._.trf_word_pieces_[p] for p in pieces) in (token.lower_, "")


def test_only_the_first_separator_counts(make: Callable[..., Language]) -> None:
    nlp = make("bert", separator=". ")
    inputs = plain(nlp)("I love it", "The dog. The fox.")
    assert nlp("I love it. The dog. The fox.")._.trf_word_pieces == inputs["input_ids"]
    assert len(nlp("I love it.")._.trf_segments) == 1


def test_truncated_tokens_of_both_texts_have_no_vector(make: Callable[..., Language]) -> None:
    nlp = make("bert", encoder=True, separator="|||", max_length=13)
    doc = nlp("apple " * 20 + "||| " + "pie " * 20)
    assert doc._.trf_segments.tolist() == [[0, 26, 13]]
    seen = [*range(5), 20, *range(21, 26)]
    assert np.flatnonzero(doc.tensor.any(axis=1)).tolist() == seen
    aligned = [i for i, pieces in enumerate(doc._.trf_alignment) if pieces]
    assert aligned == [i for i in seen if i != 20]
    assert_same_sums(doc)
    # In a batch with other Docs, and after a round trip through bytes.
    together = list(nlp.pipe(["I love it.", doc.text, "a ||| b"]))[1]
    np.testing.assert_allclose(together.tensor, doc.tensor, atol=1e-5)
    doc = make("bert", separator="|||", max_length=13)(doc.text)
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again._.trf_unseen_tokens.tolist() == list(range(5, 20))


def test_a_token_across_the_separator_is_seen(make: Callable[..., Language]) -> None:
    doc = make("bert", encoder=True, separator="x")("lovexit " + "apple " * 100)
    assert doc[0].text == "lovexit"
    assert len(doc._.trf_alignment[0]) >= 2
    assert_same_sums(doc)


@pytest.mark.parametrize("rule", ["truncate", "window"])
@pytest.mark.parametrize("kind", ["sentences", "doc", "windows"])
def test_texts_without_the_separator_are_not_pairs(
    make: Callable[..., Language], kind: str, rule: str
) -> None:
    with_pairs = make("bert", separator="|||", segments=kind, long_sentences=rule)
    without = make("bert", segments=kind, long_sentences=rule)
    docs = list(with_pairs.pipe(["a ||| b", *TEXTS, f"{LONG} ||| {LONG}"]))
    for doc, other in zip(docs[1:-1], without.pipe(TEXTS), strict=True):
        assert doc._.trf_word_pieces == other._.trf_word_pieces
        assert np.array_equal(doc._.trf_segments, other._.trf_segments)
    assert len(docs[0]._.trf_segments) == len(docs[-1]._.trf_segments) == 1
