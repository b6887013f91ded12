"""What a segment is: sentences, windows of sentences, whole Docs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from segment_rows import NAMES, TEXTS, plain, rows_of
from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.encodings import Pieces
from trfcli_pipeline.tokenization.packing import pack
from trfcli_pipeline.tokenization.segments import Layout, Segmentation


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
            # Several sentences aren't truncated, and another one wouldn't have fit.
            if sum(first <= other < stop for other in firsts) > 1:
                assert len(tokenizer(doc[first:stop].text)["input_ids"]) <= limit
            longer = next((s.end for s in doc.sents if s.start == stop), None)
            if longer and name == "bert":
                assert len(tokenizer(doc[first:longer].text)["input_ids"]) > limit
            assert size <= limit


def test_windows_that_turn_out_too_long_are_divided() -> None:
    def encode_one(size: int, *, long: bool) -> Pieces:
        pieces = Pieces([1] * size, [0] * size, [(0, 0)] * size, [0] * size)
        return replace(pieces, overflowing=[pieces]) if long else pieces

    def encode(layouts: list[Layout]) -> list[list[Pieces]]:
        sizes = [np.diff([*layout.firsts, len(layout.token_spans)]) for layout in layouts]
        # Joining sentences adds a wordpiece.
        return [[encode_one(2, long=n * 2 + (n > 1) > 8) for n in own.tolist()] for own in sizes]

    layout = Layout("abcdefgh", np.array([(i, i + 1) for i in range(8)]), np.arange(8))
    (packed,), (encodings,) = pack([layout], [encode([layout])[0]], encode, 8)
    assert packed.firsts.tolist() == [0, 2, 4, 6]
    assert len(encodings) == 4
    (packed,), _ = pack([layout], [encode([layout])[0]], encode, 6)
    assert packed.firsts.tolist() == [0, 3, 6]
    (packed,), _ = pack([layout], [encode([layout])[0]], encode, 2)
    assert packed is layout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"segments": "words"}, "segments: invalid value 'words'"),
        ({"long_sentences": "cut"}, "long_sentences: invalid value 'cut'"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message) as caught:
        Segmentation(**wrong)
    assert caught.value.hint
