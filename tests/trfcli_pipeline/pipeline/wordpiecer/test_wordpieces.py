"""Wordpieces and their alignment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoTokenizer
from wordpieces import MAX_LENGTH, TEXTS, equal, wordpieces_only

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.errors import PipelineError


def plain(nlp: Language) -> Any:
    """Load the tokenizer with transformers."""
    return AutoTokenizer.from_pretrained(nlp.get_pipe("trf_wordpiecer").trf_name)


def overlaps(doc: Doc, tokenizer: Any) -> list[list[int]]:
    """Align by comparing every token with every wordpiece of its sentence."""
    alignment = []
    before = 0
    for sentence in doc.sents:
        encoding = tokenizer(
            sentence.text,
            return_offsets_mapping=True,
            truncation=True,
            max_length=MAX_LENGTH,
            split_special_tokens=True,
        )
        offsets = encoding["offset_mapping"]
        for token in sentence:
            start = token.idx - sentence.start_char
            end = start + len(token)
            alignment.append(
                [
                    before + index
                    for index, (left, right) in enumerate(offsets)
                    if left < right and left < end and right > start
                ]
            )
        before += len(offsets)
    return alignment


def ids_by_sentence(doc: Doc) -> Iterator[list[int]]:
    start = 0
    for length in doc._.trf_segments[:, 2].tolist():
        yield doc._.trf_word_pieces[start : start + length]
        start += length


# --- wordpieces and their alignment ---


@pytest.mark.parametrize("text", TEXTS)
def test_each_sentence_has_the_wordpieces_of_the_plain_tokenizer(
    pieces: Language, text: str
) -> None:
    doc = pieces(text)
    tokenizer = plain(pieces)
    expected = [
        tokenizer(sentence.text, truncation=True, max_length=MAX_LENGTH, split_special_tokens=True)[
            "input_ids"
        ]
        for sentence in doc.sents
    ]
    assert list(ids_by_sentence(doc)) == expected
    ids = [id_ for one in expected for id_ in one]
    assert doc._.trf_word_pieces == ids
    assert doc._.trf_word_pieces_ == tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("text", TEXTS)
def test_alignment_is_the_overlap_of_characters(pieces: Language, text: str) -> None:
    doc = pieces(text)
    assert doc._.trf_alignment == overlaps(doc, plain(pieces))


# Characters that the tokenizers know, and any others.
unicode_texts = st.text(max_size=60) | st.text(
    st.sampled_from("ab .!?\n\t\u00a0\u3000\u200b\u0301éß😀👩\u200d[SEP]中文"), max_size=80
)


@settings(max_examples=80)
@given(text=unicode_texts)
@example(text="")
@example(text=" \n ")
@example(text="\u0301\u0301")
@example(text="👩\u200d👩\u200d👧😀")
@example(text="a" * 1000)
def test_any_text_is_aligned(bert: Language, gpt2: Language, text: str) -> None:
    for nlp in (bert, gpt2):
        doc = nlp(text)
        assert doc.text == text
        alignment = doc._.trf_alignment
        assert len(alignment) == len(doc)
        assert alignment == overlaps(doc, nlp.get_pipe("trf_wordpiecer").tokenizer)
        for indices in alignment:
            assert indices == sorted(set(indices))
            assert all(0 <= index < len(doc._.trf_word_pieces) for index in indices)
        assert doc._.trf_segments[:, 2].sum() == len(doc._.trf_word_pieces)


def test_special_tokens_have_no_alignment(bert: Language) -> None:
    doc = bert("I love it. I hate it.")
    aligned = {index for indices in doc._.trf_alignment for index in indices}
    special = {i for i, s in enumerate(doc._.trf_word_pieces_) if s in ("[CLS]", "[SEP]")}
    assert len(special) == 4
    assert not special & aligned
    assert special | aligned == set(range(len(doc._.trf_word_pieces)))


@pytest.mark.parametrize("token", ["😀", "中", "y" * 101])
def test_an_unknown_wordpiece_is_aligned_with_its_token(bert: Language, token: str) -> None:
    doc = bert(f"I love {token} films")
    (index,) = doc._.trf_alignment[2]
    assert doc[2].text == token
    assert doc._.trf_word_pieces_[index] == "[UNK]"
    assert doc._.trf_word_pieces_.count("[UNK]") == 1


def test_several_wordpieces_of_one_character_are_aligned_with_its_token(gpt2: Language) -> None:
    doc = gpt2("I love 😀 films")
    assert doc[2].text == "😀"
    assert len(doc._.trf_alignment[2]) > 1


def test_text_that_looks_like_a_special_token_is_aligned(bert: Language) -> None:
    doc = bert("a [SEP] b")
    assert doc._.trf_word_pieces_.count("[SEP]") == 1
    assert all(doc._.trf_alignment)


# --- truncation ---


def test_a_sentence_that_is_too_long_keeps_its_special_tokens(bert: Language) -> None:
    doc = bert("apple " * 200 + ". I love it.")
    long, short = ids_by_sentence(doc)
    tokenizer = plain(bert)
    assert len(long) == MAX_LENGTH
    assert (long[0], long[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert short == tokenizer("I love it.")["input_ids"]


def test_truncated_tokens_have_an_empty_alignment(bert: Language) -> None:
    doc = bert("apple " * 200 + ". I love it.")
    alignment = doc._.trf_alignment
    seen = doc._.trf_segments[0, 1]
    assert seen == MAX_LENGTH - 2
    assert all(alignment[:seen])
    assert not any(alignment[seen:201])
    assert all(alignment[201:])
    # The wordpieces of the next sentence follow the truncated ones.
    assert alignment[201] == [MAX_LENGTH + 1]


def test_a_sentence_of_maximum_length_is_not_truncated(bert: Language) -> None:
    doc = bert("apple " * (MAX_LENGTH - 2))
    assert len(doc._.trf_word_pieces) == MAX_LENGTH
    assert doc._.trf_segments.tolist() == [[0, len(doc), MAX_LENGTH]]
    assert all(doc._.trf_alignment[: MAX_LENGTH - 2])


# --- sentences ---


def test_a_doc_without_sentences_is_one_sentence(bert: Language) -> None:
    wordpiecer = bert.get_pipe("trf_wordpiecer")
    with_sentences, without = (bert.make_doc("I love it. I hate it.") for _ in range(2))
    bert.get_pipe("sentencizer")(with_sentences)
    docs = list(wordpiecer.pipe([without, with_sentences, without.copy()]))
    assert [len(doc._.trf_segments) for doc in docs] == [1, 2, 1]
    assert docs[0]._.trf_word_pieces == plain(bert)("I love it. I hate it.")["input_ids"]


def test_an_empty_doc_has_no_wordpieces(bert: Language) -> None:
    doc = bert("")
    assert doc._.trf_word_pieces == []
    assert doc._.trf_word_pieces_ == []
    assert doc._.trf_alignment == []
    assert doc._.trf_segments.shape == (0, 3)


def test_a_batch_equals_its_docs_one_by_one(pieces: Language) -> None:
    wordpiecer = pieces.get_pipe("trf_wordpiecer")
    with pieces.select_pipes(enable=["sentencizer"]):
        docs = list(pieces.pipe([*TEXTS, "apple " * 100, *TEXTS]))
    together = wordpiecer.predict(docs)
    assert len(together) == len(docs)
    for doc, each in zip(docs, together, strict=True):
        (alone,) = wordpiecer.predict([doc])
        assert equal(each, alone), doc.text


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_pipe_keeps_the_order(bert: Language, batch_size: int) -> None:
    docs = list(bert.pipe(TEXTS, batch_size=batch_size))
    assert [doc.text for doc in docs] == TEXTS
    assert [doc._.trf_alignment for doc in docs] == [bert(text)._.trf_alignment for text in TEXTS]


def test_pipe_passes_errors_to_the_error_handler(tiny_bert: Path) -> None:
    nlp = wordpieces_only(tiny_bert, TransformersLanguage(meta={"lang": "xx"}))
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    wordpiecer._tokenizer = None
    with pytest.raises(PipelineError):
        list(nlp.pipe(["I love it."]))
    seen = []
    wordpiecer.set_error_handler(lambda name, pipe, docs, error: seen.append((name, len(docs))))
    assert list(wordpiecer.pipe([nlp.make_doc("a"), nlp.make_doc("b")])) == []
    assert seen == [("trf_wordpiecer", 2)]
