"""Docs divided into sentences, windows, whole Docs and pairs, against plain transformers."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModel, AutoTokenizer

from trfcli_pipeline import TransformersLanguage
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.encodings import Pieces
from trfcli_pipeline.tokenization.packing import pack
from trfcli_pipeline.tokenization.segments import Layout, Segmentation

NAMES = ["bert", "gpt2", "xlnet", "bert-japanese"]
LONG = "the dog and the fox love apple pie, " * 30
TEXTS = [
    "I love this film. Apple pie is delicious! No.",
    f"Short. {LONG}. I hate it; it is a terrible bore. And so on.",
    "x" * 300 + " love it",
    "",
    "Zürich's cafés 😀 reopened 東京\n\n",
]


@pytest.fixture(scope="module")
def make(family_encoder: Callable[[str], Path]) -> Callable[..., Language]:
    @cache
    def make_pipeline(name: str, *, encoder: bool = False, **settings: Any) -> Language:
        path = str(family_encoder(name))
        nlp = TransformersLanguage()
        nlp.add_pipe("sentencizer")
        nlp.add_pipe("trf_wordpiecer", config={"trf_name": path, **settings})
        if encoder:
            nlp.add_pipe("trf_tok2vec", config={"trf_name": path})
        nlp.initialize()
        return nlp

    return make_pipeline


def plain(nlp: Language) -> Any:
    return AutoTokenizer.from_pretrained(nlp.get_pipe("trf_wordpiecer").trf_name)


def rows_of(doc: Doc) -> list[tuple[int, int, slice]]:
    """First token, end token and wordpieces of each segment."""
    ends = np.cumsum(doc._.trf_segments[:, 2]).tolist()
    return [
        (first, end, slice(stop - size, stop))
        for (first, end, size), stop in zip(doc._.trf_segments.tolist(), ends, strict=True)
    ]


def overlaps(doc: Doc, spans: list[tuple[int, int]]) -> list[list[int]]:
    """The alignment by comparing every token with every wordpiece."""
    return [
        [
            i
            for i, (start, end) in enumerate(spans)
            if start < end and start < token.idx + len(token) and end > token.idx
        ]
        for token in doc
    ]


def assert_sums_hold(doc: Doc) -> None:
    hidden = doc._.trf_last_hidden_state
    np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-3, rtol=1e-4)


# --- windows of long segments ---


def assert_windows(doc: Doc, tokenizer: Any, max_length: int) -> None:
    """Windows of a Doc that is one segment."""
    added = tokenizer.num_special_tokens_to_add()
    whole = tokenizer(doc[:].text, split_special_tokens=True)["input_ids"]
    frame = tokenizer("")["input_ids"]
    n_ahead = next((i for i in range(added) if whole[i] != frame[i]), added)
    own, segments = [], doc._.trf_segments
    for _, _, pieces in rows_of(doc):
        ids = doc._.trf_word_pieces[pieces]
        assert len(ids) <= max_length
        assert len(ids) > added or not own
        behind = len(ids) - (added - n_ahead)
        assert ids[:n_ahead] + ids[behind:] == frame
        own += ids[n_ahead:behind]
    assert own == whole[n_ahead : len(whole) - (added - n_ahead)]
    # Every token in order; again only where its pieces are divided.
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


@settings(max_examples=20, deadline=None)
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
def test_each_window_gives_what_it_gives_by_itself(
    make: Callable[..., Language], name: str
) -> None:
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
        assert_sums_hold(doc)


def test_other_sentences_stay_as_they_are(make: Callable[..., Language]) -> None:
    truncated, windows = (make("bert", long_sentences=rule) for rule in ("truncate", "window"))
    one, other = (nlp(TEXTS[1]) for nlp in (truncated, windows))
    first, *_, last = rows_of(other)
    assert first == rows_of(one)[0]
    assert other._.trf_word_pieces[last[2]] == one._.trf_word_pieces[rows_of(one)[-1][2]]
    assert all(other._.trf_alignment)
    assert not all(one._.trf_alignment)


# --- what a segment is ---


@pytest.mark.parametrize("name", NAMES)
def test_a_doc_as_one_segment(make: Callable[..., Language], name: str) -> None:
    nlp = make(name, segments="doc")
    tokenizer = plain(nlp)
    for doc in nlp.pipe(TEXTS[:1] + TEXTS[3:]):
        expected = tokenizer(doc[:].text, split_special_tokens=True)["input_ids"]
        assert doc._.trf_word_pieces == (expected if len(doc) else [])
        assert len(doc._.trf_segments) == min(len(doc), 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("max_length", [6, 20, None])
def test_windows_pack_sentences(
    make: Callable[..., Language], name: str, max_length: int | None
) -> None:
    nlp = make(name, segments="windows", max_length=max_length)
    tokenizer, limit = plain(nlp), nlp.get_pipe("trf_wordpiecer").max_length
    text = "I love it. No. Apple pie is delicious! It is. The dog jumps. So does the fox. Fun!"
    for doc in nlp.pipe([text, *TEXTS]):
        firsts = [sentence.start for sentence in doc.sents]
        segments = doc._.trf_segments.tolist()
        assert {first for first, _, _ in segments} <= set(firsts)
        following = [*(first for first, _, _ in segments), len(doc)][1:]
        for (first, _, size), stop, (_, _, pieces) in zip(
            segments, following, rows_of(doc), strict=True
        ):
            inputs = tokenizer(
                doc[first:stop].text, split_special_tokens=True, truncation=True, max_length=limit
            )
            assert doc._.trf_word_pieces[pieces] == inputs["input_ids"]
            # Nothing of several sentences is cut off, and one more wouldn't have fitted.
            if sum(first <= other < stop for other in firsts) > 1:
                assert len(tokenizer(doc[first:stop].text)["input_ids"]) <= limit
            longer = next((s.end for s in doc.sents if s.start == stop), None)
            if longer and name == "bert":
                assert len(tokenizer(doc[first:longer].text)["input_ids"]) > limit
            assert size <= limit


def test_windows_that_turn_out_too_long_are_divided() -> None:
    def encode_one(size: int, *, long: bool) -> Pieces:
        pieces = Pieces([1] * size, [""] * size, [0] * size, [(0, 0)] * size, [0] * size)
        return replace(pieces, overflowing=[pieces]) if long else pieces

    def encode(layouts: list[Layout]) -> list[list[Pieces]]:
        sizes = [np.diff([*layout.firsts, len(layout.token_spans)]) for layout in layouts]
        # Joined sentences have a wordpiece more than each had.
        return [[encode_one(2, long=n * 2 + (n > 1) > 8) for n in own.tolist()] for own in sizes]

    layout = Layout("abcdefgh", np.array([(i, i + 1) for i in range(8)]), np.arange(8))
    (packed,), (encodings,) = pack([layout], [encode([layout])[0]], encode, 8)
    assert packed.firsts.tolist() == [0, 2, 4, 6]
    assert len(encodings) == 4
    (packed,), _ = pack([layout], [encode([layout])[0]], encode, 6)
    assert packed.firsts.tolist() == [0, 3, 6]
    (packed,), _ = pack([layout], [encode([layout])[0]], encode, 2)
    assert packed is layout


# --- pairs ---

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
    # Of transformers' tokenizers, only the slow ones make a pair with an empty text.
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
        assert_sums_hold(doc)


def test_only_some_tokenizers_number_the_texts(make: Callable[..., Language]) -> None:
    bert, roberta = (make(name, separator="|||")("a ||| b") for name in ("bert", "roberta"))
    assert bert._.trf_token_type_ids == [0, 0, 0, 1, 1]
    assert roberta._.trf_token_type_ids is None
    assert roberta._.trf_word_pieces_[2:4] == ["</s>", "</s>"]


def test_the_separator_is_no_text(make: Callable[..., Language]) -> None:
    doc = make("bert", encoder=True, separator="|||")("I love it. ||| The dog.")
    texts = [token.text for token in doc]
    separator = [i for i, text in enumerate(texts) if "|" in text]
    assert separator
    for i, (token, pieces) in enumerate(zip(doc, doc._.trf_alignment, strict=True)):
        assert bool(pieces) == (i not in separator)
        # It has its share of the special tokens all the same.
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
    assert_sums_hold(doc)
    # Together with other Docs, and through bytes.
    together = list(nlp.pipe(["I love it.", doc.text, "a ||| b"]))[1]
    np.testing.assert_allclose(together.tensor, doc.tensor, atol=1e-5)
    doc = make("bert", separator="|||", max_length=13)(doc.text)
    again = Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again._.trf_unseen_tokens.tolist() == list(range(5, 20))


def test_a_token_across_the_separator_is_seen(make: Callable[..., Language]) -> None:
    doc = make("bert", encoder=True, separator="x")("lovexit " + "apple " * 100)
    assert doc[0].text == "lovexit"
    assert len(doc._.trf_alignment[0]) >= 2
    assert_sums_hold(doc)


@pytest.mark.parametrize("rule", ["truncate", "window"])
@pytest.mark.parametrize("kind", ["sentences", "doc", "windows"])
def test_other_texts_are_no_pairs(make: Callable[..., Language], kind: str, rule: str) -> None:
    with_pairs = make("bert", separator="|||", segments=kind, long_sentences=rule)
    without = make("bert", segments=kind, long_sentences=rule)
    docs = list(with_pairs.pipe(["a ||| b", *TEXTS, f"{LONG} ||| {LONG}"]))
    for doc, other in zip(docs[1:-1], without.pipe(TEXTS), strict=True):
        assert doc._.trf_word_pieces == other._.trf_word_pieces
        assert np.array_equal(doc._.trf_segments, other._.trf_segments)
    assert len(docs[0]._.trf_segments) == len(docs[-1]._.trf_segments) == 1


# --- settings ---


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"segments": "words"}, "segments: can't be 'words'"),
        ({"long_sentences": "cut"}, "long_sentences: can't be 'cut'"),
        ({"max_length": 2.5}, "max_length: can't be 2.5"),
        ({"max_length": True}, "max_length: can't be True"),
        ({"separator": None}, "separator: can't be None"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message) as caught:
        Segmentation(**wrong)
    assert caught.value.hint
