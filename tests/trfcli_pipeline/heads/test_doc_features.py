from collections.abc import Callable

import numpy as np
import pytest
from aligned_docs import (
    CLASS_ID,
    WIDTH,
    clear_gradients,
    make_doc,
    random_rows,
    segment_sums,
)
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, Ragged, chain, reduce_mean

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_features import (
    class_vectors,
    mean_last_hidden,
    pooler_outputs,
    segment_means,
)
from trfcli_pipeline.heads.doc_gradients import add_gradient, begin_gradient


def class_vector_means() -> Model:
    vectors = class_vectors()
    vectors.attrs["class_token_id"] = CLASS_ID
    return chain(vectors, reduce_mean())


def pooler_means() -> Model:
    return chain(pooler_outputs(), reduce_mean())


def means_of_segments() -> Model:
    return chain(segment_means(), reduce_mean())


def test_mean_last_hidden_is_the_mean_of_all_wordpieces() -> None:
    docs = [make_doc([3, 2], 0), make_doc([4], 1)]
    means = mean_last_hidden().predict(docs)
    expected = [doc._.trf_last_hidden_state.mean(axis=0) for doc in docs]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_mean_pooler_output_is_the_mean_of_the_sentences() -> None:
    docs = [make_doc([3, 2], 0), make_doc([4], 1)]
    means = pooler_means().predict(docs)
    expected = [doc._.trf_pooler_output.mean(axis=0) for doc in docs]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_segment_means_are_those_of_the_segments_that_have_wordpieces() -> None:
    docs = [make_doc([3, 2], 0), make_doc([]), make_doc([4], 1)]
    # GPT-2 has no wordpieces for a blank sentence.
    docs[0]._.trf_segments = np.array([(0, 1, 3), (1, 1, 0), (1, 2, 2)], dtype=np.int32)
    docs[0]._.trf_segment_sums = segment_sums(docs[0]._.trf_last_hidden_state, [3, 0, 2])
    found = segment_means().predict(docs)
    assert found.lengths.tolist() == [2, 1, 1]
    rows = [doc._.trf_last_hidden_state for doc in docs]
    expected = [rows[0][:3].mean(axis=0), rows[0][3:].mean(axis=0), [0.0] * WIDTH]
    np.testing.assert_allclose(found.dataXd, [*expected, rows[2].mean(axis=0)], rtol=1e-6)


def test_gradients_of_segment_means_are_shared_by_their_wordpieces() -> None:
    docs = [make_doc([3, 2], 0), make_doc([]), make_doc([4], 1)]
    found, backprop = segment_means().begin_update(docs)
    d_means = random_rows(4, 2)
    assert backprop(Ragged(d_means, found.lengths)) == docs
    expected = np.repeat(d_means[:2] / [[3], [2]], [3, 2], axis=0)
    np.testing.assert_allclose(docs[0]._.trf_d_last_hidden_state, expected, rtol=1e-6)
    assert docs[1]._.trf_d_last_hidden_state.shape == (0, WIDTH)
    expected = np.repeat(d_means[3:] / 4, 4, axis=0)
    np.testing.assert_allclose(docs[2]._.trf_d_last_hidden_state, expected, rtol=1e-6)


@pytest.mark.parametrize("make", [mean_last_hidden, means_of_segments])
def test_gradients_are_those_of_sums_if_rows_have_none(make: Callable[[], Model]) -> None:
    doc, other = make_doc([3, 2]), make_doc([3, 2])
    other._.trf_d_last_hidden_state = None
    for each in (doc, other):
        _, backprop = make().begin_update([each])
        backprop(random_rows(1, 2))
    assert not doc._.trf_d_segment_sums.any()
    assert other._.trf_d_last_hidden_state is None
    spread = np.repeat(other._.trf_d_segment_sums, [3, 2], axis=0)
    np.testing.assert_array_equal(doc._.trf_d_last_hidden_state, spread)
    assert spread.any()


@pytest.mark.parametrize("class_at", [0, -1])
def test_the_class_vector_is_found_by_its_id(class_at: int) -> None:
    # At the start, like BERT's [CLS] and RoBERTa's <s>, or at the end, like XLNet's <cls>.
    docs = [make_doc([3, 2], 0, class_at=class_at), make_doc([4], 1, class_at=class_at)]
    rows = [(0, 3), (0,)] if class_at == 0 else [(2, 4), (3,)]
    expected = [
        doc._.trf_last_hidden_state[list(which)].mean(axis=0)
        for doc, which in zip(docs, rows, strict=True)
    ]
    np.testing.assert_allclose(class_vector_means().predict(docs), expected, rtol=1e-6)


LAYERS = [mean_last_hidden, means_of_segments, pooler_means, class_vector_means]


@pytest.mark.parametrize("make", LAYERS)
def test_an_empty_doc_has_zeros(make: Callable[[], Model]) -> None:
    empty, doc = make_doc([]), make_doc([2], 1)
    model = make()
    both, backprop = model.begin_update([empty, doc])
    assert not both[0].any()
    assert both[1].any()
    assert backprop(np.ones_like(both)) == [empty, doc]
    assert model.predict([empty]).tolist() == [[0.0] * WIDTH]


@pytest.mark.parametrize(
    ("make", "name", "rows"),
    [
        (mean_last_hidden, "last_hidden_state", [0, 1, 2, 3, 4]),
        (pooler_means, "pooler_output", [0, 1]),
        (class_vector_means, "last_hidden_state", [0, 3]),
    ],
)
def test_gradients_reach_the_rows_that_were_averaged(
    make: Callable[[], Model], name: str, rows: list[int]
) -> None:
    doc, other = make_doc([3, 2]), make_doc([4], 1)
    _, backprop = make().begin_update([doc, other])
    d_means = random_rows(2, 2)
    assert backprop(d_means) == [doc, other]
    expected = np.zeros_like(doc._.get(f"trf_{name}"))
    expected[rows] = d_means[0] / len(rows)
    np.testing.assert_allclose(doc._.get(f"trf_d_{name}"), expected, rtol=1e-6)
    unused = {"last_hidden_state", "pooler_output"} - {name}
    assert not doc._.get(f"trf_d_{unused.pop()}").any()


@pytest.mark.parametrize("make", LAYERS)
def test_gradients_of_several_heads_add_up(make: Callable[[], Model]) -> None:
    doc, doc_of_one_head = make_doc([3, 2]), make_doc([3, 2])
    d_means = random_rows(1, 2)
    make().begin_update([doc_of_one_head])[1](3 * d_means)
    for factor in (1, 2):
        make().begin_update([doc])[1](factor * d_means)
    for name in ("trf_d_last_hidden_state", "trf_d_pooler_output"):
        np.testing.assert_allclose(doc._.get(name), doc_of_one_head._.get(name), rtol=1e-6)


@pytest.mark.parametrize("make", LAYERS)
def test_gradients_flow_only_during_an_update_of_the_encoder(make: Callable[[], Model]) -> None:
    docs = [make_doc([3, 2]), make_doc([4], 1)]
    clear_gradients(docs)
    means, backprop = make().begin_update(docs)
    assert backprop(np.ones_like(means)) == docs
    assert all(doc._.trf_d_last_hidden_state is None for doc in docs)
    assert all(doc._.trf_d_pooler_output is None for doc in docs)
    assert all(doc._.trf_d_segment_sums is None for doc in docs)


@pytest.mark.parametrize("make", LAYERS)
def test_predicting_leaves_the_docs_alone(make: Callable[[], Model]) -> None:
    doc = make_doc([3, 2])
    before = dict(doc.user_data)
    make().predict([doc])
    assert all(doc.user_data[key] is value for key, value in before.items())


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mean_last_hidden, "trf_segment_sums"),
        (means_of_segments, "trf_segment_sums"),
        (pooler_means, "trf_pooler_output"),
        (class_vector_means, "trf_last_hidden_state"),
    ],
)
def test_a_doc_without_activations_is_an_error(make: Callable[[], Model], name: str) -> None:
    with_them, without = make_doc([2]), Doc(Vocab(), words=["word"])
    with pytest.raises(PipelineError, match=f"no {name}") as caught:
        make().predict([with_them, without])
    assert "trf_tok2vec" in caught.value.hint


def test_add_gradient_replaces_the_array_by_a_view_of_it() -> None:
    # A new object tells the encoder that a head has been here, even if it is all zeros.
    doc = make_doc([2])
    before = doc._.trf_d_last_hidden_state
    begin_gradient(doc, "trf_last_hidden_state", before)
    add_gradient(doc, "trf_last_hidden_state", slice(1, 2), np.ones((1, WIDTH), "f"))
    assert doc._.trf_d_last_hidden_state is not before
    assert np.shares_memory(doc._.trf_d_last_hidden_state, before)
    assert before.tolist() == [[0.0] * WIDTH, [1.0] * WIDTH]
