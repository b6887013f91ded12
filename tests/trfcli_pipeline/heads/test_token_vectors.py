import numpy as np
import pytest
from aligned_docs import (
    WIDTH,
    Segment,
    batches,
    clear_gradients,
    make_aligned_doc,
    make_doc,
    quick,
    random_rows,
    seeds,
    share_matrix,
)
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.token_vectors import token_vectors


def make_token_vectors() -> Model:
    model = token_vectors()
    model.set_dim("nO", WIDTH)
    return model.initialize()


@quick
@given(st.lists(batches, min_size=1, max_size=3), seeds)
def test_token_vectors_are_the_rows_of_the_tensor(docs_of: list[list[Segment]], seed: int) -> None:
    docs = [make_aligned_doc(batch, seed + i) for i, batch in enumerate(docs_of)]
    rows, backprop = make_token_vectors().begin_update(docs)
    for doc, batch, row in zip(docs, docs_of, rows, strict=True):
        assert row.shape == (len(doc), WIDTH)
        np.testing.assert_allclose(
            row, share_matrix(batch) @ doc._.trf_last_hidden_state, rtol=1e-6, atol=1e-6
        )
    d_rows = [random_rows(len(doc), seed + 7 + i) for i, doc in enumerate(docs)]
    # Gradients of two calls add up.
    for factor in (1, 2):
        assert backprop([factor * each for each in d_rows]) == docs
    for doc, batch, d_row in zip(docs, docs_of, d_rows, strict=True):
        np.testing.assert_allclose(
            doc._.trf_d_last_hidden_state, 3 * share_matrix(batch).T @ d_row, rtol=1e-5, atol=1e-5
        )


def test_token_vectors_of_a_frozen_encoder_have_no_gradient() -> None:
    docs = [make_doc([3, 2]), make_doc([])]
    clear_gradients(docs)
    rows, backprop = make_token_vectors().begin_update(docs)
    assert backprop([np.ones_like(each) for each in rows]) == docs
    assert all(doc._.trf_d_last_hidden_state is None for doc in docs)


def test_token_vectors_without_a_width_are_an_error() -> None:
    with pytest.raises(PipelineError, match="width of the token vectors is unknown") as caught:
        token_vectors().initialize(X=[make_doc([2])])
    assert "trf_tok2vec" in caught.value.hint


def test_token_vectors_are_zeros_before_the_first_update() -> None:
    model = make_token_vectors()
    new, empty = Doc(Vocab(), words=["a", "b"]), Doc(Vocab())
    assert [each.tolist() for each in model.predict([new, empty])] == [[[0.0] * WIDTH] * 2, []]
    for use in (model.begin_update, model.predict):
        with pytest.raises(PipelineError, match=r"no token vectors \(doc\.tensor\)"):
            use([make_doc([2]), new])
    # A Doc without tokens needs no vectors.
    assert model.predict([empty])[0].shape == (0, WIDTH)


def test_whether_there_was_an_update_is_saved() -> None:
    model, again = make_token_vectors(), token_vectors()
    model.begin_update([make_doc([2])])
    again.from_bytes(model.to_bytes())
    assert again.get_dim("nO") == WIDTH
    with pytest.raises(PipelineError, match="no token vectors"):
        again.predict([Doc(Vocab(), words=["a"])])


def test_token_vectors_of_another_width_are_an_error() -> None:
    doc = make_doc([2])
    doc.tensor = np.zeros((1, WIDTH + 1), "f")
    with pytest.raises(PipelineError, match=f"{WIDTH + 1} columns, .* trained with {WIDTH}"):
        make_token_vectors().predict([make_doc([2]), doc])
