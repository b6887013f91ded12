"""Components that merge or split tokens, in each place of a pipeline."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoder_gradients import gradients
from retokenizers import RETOKENIZERS, TEXTS, examples, make, process, retokenizing
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_tensor import doc_tensor
from trfcli_pipeline.heads.token_vectors import token_vectors
from trfcli_pipeline.tokenization.extensions import doc_alignment

PLACES = ["trf_wordpiecer", "trf_tok2vec", "trf_textcat", None]
each_retokenizer = pytest.mark.parametrize("retokenizer", RETOKENIZERS)
each_place = pytest.mark.parametrize("before", PLACES)


@pytest.fixture(scope="module")
def nlp(tiny_bert: Path) -> Language:
    return make(tiny_bert)


@pytest.fixture(scope="module")
def unchanged(nlp: Language) -> list[Doc]:
    """Return Docs whose tokens no component has changed."""
    return list(nlp.pipe(TEXTS))


@each_retokenizer
def test_the_components_change_tokens(
    nlp: Language, unchanged: list[Doc], retokenizer: str
) -> None:
    docs = process(nlp, retokenizer, None)
    for doc, plain in zip(docs[:2], unchanged[:2], strict=True):
        assert [token.text for token in doc] != [token.text for token in plain]


@each_place
@each_retokenizer
def test_the_alignment_is_that_of_the_tokens_as_they_are(
    nlp: Language, unchanged: list[Doc], retokenizer: str, before: str | None
) -> None:
    for doc, plain in zip(process(nlp, retokenizer, before), unchanged, strict=True):
        overlaps = [
            [
                piece
                for piece, (start, end) in enumerate(plain._.trf_piece_spans.tolist())
                if start < end and start < token.idx + len(token) and end > token.idx
            ]
            for token in doc
        ]
        assert [token._.trf_alignment for token in doc] == overlaps
        assert doc._.trf_alignment == overlaps
        assert doc[1:]._.trf_alignment == overlaps[1:]
        pairs = zip(doc._.trf_segments.tolist(), plain._.trf_segments.tolist(), strict=True)
        for (first, end, size), (old_first, old_end, old_size) in pairs:
            span, old_span = doc[first:end], plain[old_first:old_end]
            assert size == old_size
            assert span.start_char == old_span.start_char
            assert span.end_char >= old_span.end_char


@each_place
@each_retokenizer
def test_parts_of_a_doc_are_those_of_the_tokens_as_they_are(
    nlp: Language, unchanged: list[Doc], retokenizer: str, before: str | None
) -> None:
    for doc, plain in zip(process(nlp, retokenizer, before), unchanged, strict=True):
        # The first read of a Doc is that of a token.
        for token in doc:
            span = plain.char_span(token.idx, token.idx + len(token), alignment_mode="expand")
            assert set(token._.trf_word_pieces) <= set(span._.trf_word_pieces)
            if span.text == token.text:
                assert token._.trf_word_pieces == span._.trf_word_pieces
                for name in ("trf_last_hidden_state", "trf_pooler_output"):
                    np.testing.assert_allclose(token._.get(name), span._.get(name), atol=1e-5)


@each_place
@each_retokenizer
def test_vectors_are_those_of_the_tokens_as_they_are(
    nlp: Language, retokenizer: str, before: str | None
) -> None:
    # The part of a token that the encoder saw only in part is seen if it was split later.
    docs, early = process(nlp, retokenizer, before)[:2], process(nlp, retokenizer, PLACES[0])[:2]
    for doc, expected in zip(docs, early, strict=True):
        for token in doc:
            np.testing.assert_allclose(token.vector, expected.tensor[token.i], atol=1e-4)
        np.testing.assert_allclose(doc.vector, expected.vector, atol=1e-4)
        np.testing.assert_allclose(doc[1:4].vector, expected.tensor[1:4].sum(axis=0), atol=1e-4)


@each_retokenizer
def test_the_tensor_of_a_processed_doc_is_up_to_date(nlp: Language, retokenizer: str) -> None:
    with retokenizing(nlp, retokenizer, None):
        docs = [*nlp.pipe(TEXTS), *map(nlp, TEXTS)]
        docs += [doc for doc, _ in nlp.pipe([(text, 0) for text in TEXTS], as_tuples=True)]
    for doc in docs:
        assert len(doc.tensor) == len(doc)
        hidden = doc._.trf_last_hidden_state
        np.testing.assert_allclose(doc.tensor.sum(axis=0), hidden.sum(axis=0), atol=1e-3)


@each_place
@each_retokenizer
def test_scores_do_not_depend_on_tokens(
    nlp: Language, unchanged: list[Doc], retokenizer: str, before: str | None
) -> None:
    for doc, expected in zip(process(nlp, retokenizer, before), unchanged, strict=True):
        assert doc.cats == pytest.approx(expected.cats, abs=1e-5)


def gradients_of_update(nlp: Language, annotates: list[str]) -> dict[str, Any]:
    encoder = nlp.get_pipe("trf_tok2vec")
    encoder.transformers_model.zero_grad()
    nlp.update(examples(nlp), sgd=False, annotates=["test_parser", "entity_ruler", *annotates])
    encoder.complete_update()
    return gradients(nlp)


@each_place
@each_retokenizer
def test_gradients_do_not_depend_on_tokens(
    nlp: Language, retokenizer: str, before: str | None
) -> None:
    expected = gradients_of_update(nlp, [])
    with retokenizing(nlp, retokenizer, before):
        actual = gradients_of_update(nlp, [retokenizer])
    assert any(each is not None and each.any() for each in expected.values())
    for name, gradient in actual.items():
        if gradient is not None:
            np.testing.assert_allclose(gradient, expected[name], atol=1e-5, err_msg=name)


@each_retokenizer
def test_gradients_of_token_vectors_go_to_their_wordpieces(nlp: Language, retokenizer: str) -> None:
    docs = process(nlp, retokenizer, "trf_textcat")
    layer = token_vectors()
    layer.set_dim("nO", docs[0].tensor.shape[1])
    for doc in docs:
        doc._.trf_d_last_hidden_state = np.zeros_like(doc._.trf_last_hidden_state)
    rows, backprop = layer.begin_update(docs)
    random = np.random.default_rng(0)
    d_rows = [random.normal(size=each.shape).astype("f") for each in rows]
    backprop(d_rows)
    for doc, row, d_row in zip(docs, rows, d_rows, strict=True):
        assert len(row) == len(doc)
        # Rows are linear in the hidden states, so this is what a backward pass is.
        expected = float((row * d_row).sum())
        actual = float((doc._.trf_last_hidden_state * doc._.trf_d_last_hidden_state).sum())
        assert actual == pytest.approx(expected, abs=1e-3)


@pytest.mark.filterwarnings(r"ignore:\[W109\]:UserWarning")
@pytest.mark.parametrize("way", ["copy", "pickle", "bytes"])
def test_copies_of_a_doc_follow_their_tokens(nlp: Language, way: str) -> None:
    doc = nlp(TEXTS[0])
    match way:
        case "copy":
            again = doc.copy()
        case "pickle":
            again = pickle.loads(pickle.dumps(doc))
        case _:
            again = Doc(doc.vocab).from_bytes(doc.to_bytes())
    with again.retokenize() as retokenizer:
        retokenizer.merge(again[2:5])
    merged = [piece for row in doc._.trf_alignment[2:5] for piece in row]
    assert again[2]._.trf_alignment == merged
    assert again._.trf_alignment == [
        *doc._.trf_alignment[:2],
        merged,
        *doc._.trf_alignment[5:],
    ]
    np.testing.assert_allclose(
        doc_tensor(again).sum(axis=0), doc._.trf_last_hidden_state.sum(axis=0), atol=1e-4
    )


def test_a_token_that_spans_sentences_is_in_both_segments(nlp: Language) -> None:
    doc = nlp(TEXTS[0])
    before = doc._.trf_segments.tolist()
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[4:8])
    after = doc._.trf_segments.tolist()
    assert [size for *_, size in after] == [size for *_, size in before]
    assert after[0][:2] == [0, 5]
    assert after[1][0] == 4
    np.testing.assert_allclose(
        doc_tensor(doc).sum(axis=0), doc._.trf_last_hidden_state.sum(axis=0), atol=1e-4
    )


def test_lost_vectors_are_an_error(tiny_bert: Path) -> None:
    nlp = make(tiny_bert, keep="tensor")
    nlp.add_pipe("merge_entities", before="trf_textcat")
    doc = nlp(TEXTS[0])
    # The classifier doesn't need them.
    assert doc.cats
    with pytest.raises(PipelineError, match="token vectors are lost") as caught:
        _ = doc.vector
    assert "last_hidden_state" in str(caught.value)


def test_the_alignment_of_another_text_is_an_error(nlp: Language) -> None:
    wordpiecer = nlp.get_pipe("trf_wordpiecer")
    doc, other = nlp.make_doc("I love it"), nlp.make_doc("I love this film")
    wordpiecer.set_annotations([other], wordpiecer.predict([doc]))
    with pytest.raises(PipelineError, match="those of another text"):
        doc_alignment(other)
