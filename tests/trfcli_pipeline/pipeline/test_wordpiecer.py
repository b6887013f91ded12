import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from transformers import AutoTokenizer

from trfcli_pipeline import TransformersLanguage, TransformersWordPiecer
from trfcli_pipeline.errors import EncoderError, PipelineError
from trfcli_pipeline.tokenization.doc_pieces import DocPieces

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Apple shares rose. Apple pie is delicious!  And so on.",
    "",
    " ",
    "\n\n I love\tthis film .\n",
    "Zürich's cafés 😀 reopened 👩‍👩‍👧! Unbelievable!",
    "e\u0301 n\u0303 \u0301",
    "don't can't U.S.A. [SEP] [CLS]. </s>",
    "x" * 300 + " " + "love" * 40,
]
MAX_LENGTH = 64


def wordpieces_only(path: Path, nlp: Language) -> Language:
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(path)})
    nlp.initialize()
    return nlp


@pytest.fixture(scope="module")
def bert(tiny_bert: Path) -> Language:
    return wordpieces_only(tiny_bert, TransformersLanguage())


@pytest.fixture(scope="module")
def gpt2(tiny_gpt2: Path) -> Language:
    return wordpieces_only(tiny_gpt2, TransformersLanguage())


@pytest.fixture(params=["bert", "gpt2"])
def pieces(request: pytest.FixtureRequest) -> Language:
    return request.getfixturevalue(request.param)


def plain(nlp: Language) -> Any:
    """The tokenizer as Hugging Face loads it."""
    return AutoTokenizer.from_pretrained(nlp.get_pipe("trf_wordpiecer").trf_name)


def overlaps(doc: Doc, tokenizer: Any) -> list[list[int]]:
    """The alignment by comparing every token with every wordpiece of its sentence."""
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


def equal(one: DocPieces, other: DocPieces) -> bool:
    return (
        one.ids == other.ids
        and one.strings == other.strings
        and one.type_ids == other.type_ids
        and np.array_equal(one.links, other.links)
        and np.array_equal(one.segments, other.segments)
    )


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


# Letters that the tokenizers know, and all that Unicode has.
unicode_texts = st.text(max_size=60) | st.text(
    st.sampled_from("ab .!?\n\t\u00a0\u3000\u200b\u0301éß😀👩\u200d[SEP]中文"), max_size=80
)


@settings(max_examples=80, deadline=None)
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


def test_special_tokens_are_aligned_with_nothing(bert: Language) -> None:
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
    # The wordpieces of the next sentence come after those that are left of this one.
    assert alignment[201] == [MAX_LENGTH + 1]


def test_a_sentence_of_just_the_maximum_is_not_truncated(bert: Language) -> None:
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


def test_a_batch_gives_what_its_docs_give_alone(pieces: Language) -> None:
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


def test_pipe_hands_errors_to_the_error_handler(tiny_bert: Path) -> None:
    nlp = wordpieces_only(tiny_bert, TransformersLanguage())
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    wordpiecer._tokenizer = None
    with pytest.raises(PipelineError):
        list(nlp.pipe(["I love it."]))
    seen = []
    wordpiecer.set_error_handler(lambda name, pipe, docs, error: seen.append((name, len(docs))))
    assert list(wordpiecer.pipe([nlp.make_doc("a"), nlp.make_doc("b")])) == []
    assert seen == [("trf_wordpiecer", 2)]


# --- training ---


@pytest.mark.parametrize("lang", ["trf", "en"])
def test_update_sets_sentences_and_wordpieces(tiny_bert: Path, lang: str) -> None:
    nlp = wordpieces_only(tiny_bert, spacy.blank(lang))
    text = "I love it. I hate it."
    eg = Example.from_dict(nlp.make_doc(text), {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    expected = nlp(text)
    assert [sent.text for sent in eg.predicted.sents] == ["I love it.", "I hate it."]
    assert eg.predicted._.trf_word_pieces == expected._.trf_word_pieces
    assert eg.predicted._.trf_alignment == expected._.trf_alignment
    assert eg.reference._.trf_word_pieces is None


def test_update_keeps_sentences_that_are_there(tiny_bert: Path) -> None:
    nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer", config={"overwrite": True})
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    nlp.initialize()
    doc = nlp.make_doc("I love it. I hate it.")
    for token in doc:
        token.is_sent_start = token.i in (0, 2)
    eg = Example.from_dict(doc, {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    assert [sent.start for sent in eg.predicted.sents] == [0, 2]
    assert len(eg.predicted._.trf_segments) == 2


def test_update_keeps_wordpieces_that_are_there(bert: Language) -> None:
    kept, new = (Example.from_dict(bert.make_doc("I love it."), {}) for _ in range(2))
    kept.predicted._.trf_word_pieces = [2, 3]
    bert.get_pipe("trf_wordpiecer").update([kept, new])
    assert kept.predicted._.trf_word_pieces == [2, 3]
    assert kept.predicted._.trf_segments is None
    assert len(new.predicted._.trf_word_pieces) > 2


def test_update_runs_only_what_sets_sentences_ahead_of_it(tiny_bert: Path) -> None:
    nlp = wordpieces_only(tiny_bert, spacy.blank("en"))
    nlp.add_pipe("entity_ruler", first=True).add_patterns([{"label": "X", "pattern": "it"}])
    eg = Example.from_dict(nlp.make_doc("I love it."), {})
    nlp.get_pipe("trf_wordpiecer").update([eg])
    assert eg.predicted.has_annotation("SENT_START")
    assert eg.predicted.ents == ()


def test_update_without_a_pipeline_takes_a_doc_for_a_sentence(tiny_bert: Path) -> None:
    nlp = spacy.blank("en")
    wordpiecer = TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert))
    eg = Example.from_dict(nlp.make_doc("I love it. I hate it."), {})
    wordpiecer.update([eg])
    assert len(eg.predicted._.trf_segments) == 1


# --- making, saving and loading ---


def test_from_nlp_takes_the_name_of_the_pipeline(tiny_bert: Path) -> None:
    nlp = TransformersLanguage(trf_name=str(tiny_bert))
    wordpiecer = TransformersWordPiecer.from_nlp(nlp)
    assert wordpiecer.trf_name == str(tiny_bert)
    wordpiecer.initialize(list)
    assert wordpiecer.max_length == MAX_LENGTH
    assert TransformersWordPiecer.from_nlp(nlp, trf_name="other").trf_name == "other"


def test_initialize_keeps_a_tokenizer_that_is_there(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer.from_pretrained(spacy.blank("en").vocab, str(tiny_bert))
    tokenizer = wordpiecer.tokenizer
    wordpiecer.trf_name = "/absent"
    wordpiecer.initialize(list)
    assert wordpiecer.tokenizer is tokenizer


def test_without_a_tokenizer_it_says_what_to_do(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    wordpiecer = nlp.add_pipe("trf_wordpiecer")
    for use in (
        lambda: wordpiecer(nlp.make_doc("a")),
        wordpiecer.to_bytes,
        lambda: wordpiecer.to_disk(tmp_path / "wordpiecer"),
    ):
        with pytest.raises(PipelineError, match="the tokenizer isn't loaded yet") as caught:
            use()
        assert "nlp.initialize()" in str(caught.value)
    assert wordpiecer.max_length is None
    with pytest.raises(EncoderError, match="No encoder is given"):
        nlp.initialize()


@pytest.mark.parametrize("way", ["disk", "bytes", "pickle"])
def test_a_saved_component_gives_the_same(pieces: Language, tmp_path: Path, way: str) -> None:
    wordpiecer = pieces.get_pipe("trf_wordpiecer")
    if way == "pickle":
        again = pickle.loads(pickle.dumps(wordpiecer))
    elif way == "disk":
        wordpiecer.to_disk(tmp_path / "trf_wordpiecer")
        again = TransformersWordPiecer(pieces.vocab).from_disk(tmp_path / "trf_wordpiecer")
    else:
        again = TransformersWordPiecer(pieces.vocab).from_bytes(wordpiecer.to_bytes())
    assert again.name == wordpiecer.name
    assert again.cfg == wordpiecer.cfg
    assert again.max_length == MAX_LENGTH
    with pieces.select_pipes(enable=["sentencizer"]):
        docs = list(pieces.pipe([*TEXTS, "apple " * 100]))
    for one, other in zip(wordpiecer.predict(docs), again.predict(docs), strict=True):
        assert equal(one, other)


def test_saving_twice_gives_the_same_bytes(bert: Language) -> None:
    wordpiecer = bert.get_pipe("trf_wordpiecer")
    assert wordpiecer.to_bytes() == wordpiecer.to_bytes()


SETTINGS = {
    "segments": "windows",
    "long_sentences": "window",
    "max_length": 10,
    "separator": "|||",
}
TEXT = "I love it. I hate it. I love apple pie. " + "apple " * 30


def segments_of(nlp: Language) -> list[list[int]]:
    return nlp(TEXT)._.trf_segments.tolist()


@pytest.mark.parametrize("way", ["add_pipe", "from_nlp", "from_pretrained"])
def test_settings_go_everywhere(tiny_bert: Path, tmp_path: Path, way: str) -> None:
    nlp = TransformersLanguage()
    nlp.add_pipe("sentencizer")
    if way == "add_pipe":
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert), **SETTINGS})
    elif way == "from_nlp":
        nlp.add_pipe(TransformersWordPiecer.from_nlp(nlp, trf_name=str(tiny_bert), **SETTINGS))
    else:
        nlp.add_pipe(TransformersWordPiecer.from_pretrained(nlp.vocab, str(tiny_bert), **SETTINGS))
    nlp.initialize()
    assert nlp.get_pipe("trf_wordpiecer").cfg == {"trf_name": str(tiny_bert), **SETTINGS}
    assert nlp.config["components"]["trf_wordpiecer"] == {
        "factory": "trf_wordpiecer",
        "trf_name": str(tiny_bert),
        **SETTINGS,
    }
    nlp.to_disk(tmp_path)
    copies = [spacy.load(tmp_path), TransformersLanguage.from_config(nlp.config)]
    copies[1].from_bytes(nlp.to_bytes())
    for other in copies:
        assert other.get_pipe("trf_wordpiecer").cfg == nlp.get_pipe("trf_wordpiecer").cfg
        assert other.get_pipe("trf_wordpiecer").max_length == 10
        assert segments_of(other) == segments_of(nlp)
    assert max(size for _, _, size in segments_of(nlp)) == 10


def test_the_config_of_the_pipeline_wins(tiny_bert: Path, tmp_path: Path) -> None:
    nlp = wordpieces_only(tiny_bert, TransformersLanguage())
    nlp.to_disk(tmp_path)
    changed = spacy.load(tmp_path, config={"components": {"trf_wordpiecer": {"max_length": 9}}})
    assert changed.get_pipe("trf_wordpiecer").max_length == 9
    assert segments_of(changed)[-1][2] == 9
    assert segments_of(nlp)[-1][2] == 32


def test_pickling_keeps_the_settings(tiny_bert: Path) -> None:
    wordpiecer = TransformersWordPiecer.from_pretrained(
        spacy.blank("en").vocab, str(tiny_bert), **SETTINGS
    )
    again = pickle.loads(pickle.dumps(wordpiecer))
    assert again.cfg == wordpiecer.cfg
    doc = spacy.blank("en")(TEXT)
    assert equal(again.predict([doc])[0], wordpiecer.predict([doc])[0])


def test_max_length_lowers_the_limit_only(tiny_bert: Path) -> None:
    vocab = spacy.blank("en").vocab
    for length, expected in [(None, 64), (20, 20), (500, 64)]:
        wordpiecer = TransformersWordPiecer.from_pretrained(
            vocab, str(tiny_bert), max_length=length
        )
        assert wordpiecer.max_length == expected


@pytest.mark.parametrize(("separator", "least"), [("", 3), ("|", 5)])
def test_max_length_leaves_room_for_text(tiny_bert: Path, separator: str, least: int) -> None:
    def make(length: int) -> TransformersWordPiecer:
        return TransformersWordPiecer.from_pretrained(
            spacy.blank("en").vocab, str(tiny_bert), max_length=length, separator=separator
        )

    for length in (least - 1, 0, -1):
        with pytest.raises(PipelineError, match="leaves no room for text") as caught:
            make(length)
        assert f"Use {least} or more" in str(caught.value)
    assert make(least).max_length == least


def test_an_encoder_without_a_limit_gets_one(family_encoder: Callable[[str], Path]) -> None:
    vocab = spacy.blank("en").vocab
    name = str(family_encoder("xlnet"))
    assert TransformersWordPiecer.from_pretrained(vocab, name).max_length == 2048
    longer = TransformersWordPiecer.from_pretrained(vocab, name, max_length=5000)
    assert longer.max_length == 5000
