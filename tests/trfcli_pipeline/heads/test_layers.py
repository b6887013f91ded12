from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, NumpyOps, Ragged, chain, reduce_mean

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.layers import (
    add_gradient,
    class_scores,
    class_vectors,
    mean_last_hidden,
    piece_gradients,
    pooler_outputs,
    segment_means,
    token_rows,
    token_vectors,
)
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.extensions import doc_alignment, install_extensions

# No deadline: how long an example takes says more about the machine.
quick = settings(max_examples=60, deadline=None)

install_extensions()

OPS = NumpyOps()
WIDTH = 3
CLASS_ID, SEP_ID = 101, 102

# Tokens that were seen, tokens that were truncated, and of each wordpiece the tokens that it is
# linked with: none for a special token.
Segment = tuple[int, int, list[set[int]]]


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    n_seen = draw(st.integers(1, 5))
    tokens = st.sets(st.integers(0, n_seen - 1), max_size=3)
    return n_seen, draw(st.integers(0, 2)), draw(st.lists(tokens, max_size=7))


batches = st.lists(segments(), max_size=4)
seeds = st.integers(0, 2**16)


def make_alignment(batch: list[Segment]) -> Alignment:
    links, rows, token, piece = [], [], 0, 0
    for n_seen, n_truncated, pieces in batch:
        rows.append((token, token + n_seen, len(pieces)))
        links += [(token + i, piece + j) for j, tokens in enumerate(pieces) for i in tokens]
        token, piece = token + n_seen + n_truncated, piece + len(pieces)
    return Alignment(
        np.array(sorted(links), dtype=np.int32).reshape(-1, 2),
        np.array(rows, dtype=np.int32).reshape(-1, 3),
        token,
    )


def share_matrix(batch: list[Segment]) -> np.ndarray:
    """Which part of each wordpiece's row each token gets. Shape: (tokens, wordpieces)"""
    n_tokens = sum(n_seen + n_truncated for n_seen, n_truncated, _ in batch)
    matrix = np.zeros((n_tokens, sum(len(pieces) for _, _, pieces in batch)))
    token = piece = 0
    for n_seen, n_truncated, pieces in batch:
        for tokens in pieces:
            for i in tokens or range(n_seen):
                matrix[token + i, piece] = 1 / len(tokens or range(n_seen))
            piece += 1
        token += n_seen + n_truncated
    return matrix


def random_rows(n_rows: int, seed: int, low: float = -1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, 1.0, (n_rows, WIDTH)).astype("f")


@quick
@given(batches, seeds)
def test_token_rows_are_the_weighted_sums_of_wordpiece_rows(
    batch: list[Segment], seed: int
) -> None:
    matrix = share_matrix(batch)
    rows = random_rows(matrix.shape[1], seed)
    tokens = token_rows(OPS, make_alignment(batch).shares(), rows)
    assert tokens.dtype == np.float32
    np.testing.assert_allclose(tokens, matrix @ rows, rtol=1e-6, atol=1e-6)


@quick
@given(batches, seeds)
def test_no_part_of_a_row_is_lost_or_counted_twice(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    # All positive: where numbers cancel out, their sum says little about rounding.
    rows = random_rows(alignment.n_pieces, seed, low=0.5)
    tokens = token_rows(OPS, alignment.shares(), rows)
    np.testing.assert_allclose(
        tokens.sum(axis=0, dtype="float64"), rows.sum(axis=0, dtype="float64"), rtol=1e-6
    )


@quick
@given(batches, seeds)
def test_truncated_tokens_get_zeros(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    tokens = token_rows(OPS, alignment.shares(), random_rows(alignment.n_pieces, seed))
    starts = [*alignment.segments[1:, 0], alignment.n_tokens]
    for (_, end, _), next_start in zip(alignment.segments, starts, strict=False):
        assert not tokens[end:next_start].any()


@quick
@given(batches, seeds)
def test_piece_gradients_are_the_transpose(batch: list[Segment], seed: int) -> None:
    alignment = make_alignment(batch)
    shares = alignment.shares()
    x = random_rows(alignment.n_pieces, seed)
    y = random_rows(alignment.n_tokens, seed + 1)
    gradients = piece_gradients(OPS, shares, y, alignment.n_pieces)
    assert gradients.dtype == np.float32
    np.testing.assert_allclose(gradients, share_matrix(batch).T @ y, rtol=1e-6, atol=1e-6)
    forward = (token_rows(OPS, shares, x).astype("float64") * y).sum()
    backward = (gradients.astype("float64") * x).sum()
    assert forward == pytest.approx(backward, rel=1e-5, abs=1e-5)


def test_a_token_of_many_wordpieces_gathers_no_rounding_errors() -> None:
    n_pieces = 20_000
    alignment = make_alignment([(1, 0, [{0}] * n_pieces)])
    rows = random_rows(n_pieces, 0, low=0.0)
    expected = rows.sum(axis=0, dtype="float64").astype("f")
    np.testing.assert_array_max_ulp(
        token_rows(OPS, alignment.shares(), rows)[0], expected, maxulp=1
    )


def make_doc(lengths: list[int], seed: int = 0, *, class_at: int = 0) -> Doc:
    """A Doc with sentences of so many wordpieces, and with zeros as gradients."""
    doc = Doc(Vocab(), words=["word"] * len(lengths))
    sentences = [[SEP_ID] * length for length in lengths]
    for ids in sentences:
        ids[class_at] = CLASS_ID
    doc._.trf_word_pieces = [id_ for ids in sentences for id_ in ids]
    segments = [(i, i + 1, length) for i, length in enumerate(lengths)]
    doc._.trf_segments = np.array(segments, dtype=np.int32).reshape(-1, 3)
    doc._.trf_alignment = [[] for _ in lengths]
    doc._.trf_last_hidden_state = random_rows(sum(lengths), seed)
    doc.tensor = token_rows(OPS, doc_alignment(doc).shares(), doc._.trf_last_hidden_state)
    doc._.trf_pooler_output = random_rows(len(lengths), seed + 1)
    doc._.trf_d_last_hidden_state = np.zeros((sum(lengths), WIDTH), "f")
    doc._.trf_d_pooler_output = np.zeros((len(lengths), WIDTH), "f")
    return doc


def clear_gradients(docs: list[Doc]) -> None:
    for doc in docs:
        doc._.trf_d_last_hidden_state = doc._.trf_d_pooler_output = None


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
    # GPT-2 gives a blank sentence no wordpieces.
    docs[0]._.trf_segments = np.array([(0, 1, 3), (1, 1, 0), (1, 2, 2)], dtype=np.int32)
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


@pytest.mark.parametrize("class_at", [0, -1])
def test_the_class_vector_is_found_by_its_id(class_at: int) -> None:
    # At the start, as BERT's [CLS] and RoBERTa's <s>, or at the end, as XLNet's <cls>.
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
def test_gradients_flow_only_while_the_doc_takes_them(make: Callable[[], Model]) -> None:
    docs = [make_doc([3, 2]), make_doc([4], 1)]
    clear_gradients(docs)
    means, backprop = make().begin_update(docs)
    assert backprop(np.ones_like(means)) == docs
    assert all(doc._.trf_d_last_hidden_state is None for doc in docs)
    assert all(doc._.trf_d_pooler_output is None for doc in docs)


@pytest.mark.parametrize("make", LAYERS)
def test_predicting_leaves_the_docs_alone(make: Callable[[], Model]) -> None:
    doc = make_doc([3, 2])
    before = dict(doc.user_data)
    make().predict([doc])
    assert all(doc.user_data[key] is value for key, value in before.items())


# --- token vectors, for spaCy's own components ---


def make_token_vectors() -> Model:
    model = token_vectors()
    model.set_dim("nO", WIDTH)
    return model.initialize()


def make_aligned_doc(batch: list[Segment], seed: int) -> Doc:
    alignment = make_alignment(batch)
    doc = Doc(Vocab(), words=["word"] * alignment.n_tokens)
    doc._.trf_alignment_links, doc._.trf_segments = alignment.links, alignment.segments
    doc._.trf_last_hidden_state = random_rows(alignment.n_pieces, seed)
    doc._.trf_d_last_hidden_state = np.zeros_like(doc._.trf_last_hidden_state)
    doc.tensor = token_rows(OPS, alignment.shares(), doc._.trf_last_hidden_state)
    return doc


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
    # Two heads, or one that is asked twice: gradients add up.
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


def test_without_a_width_there_are_no_token_vectors() -> None:
    with pytest.raises(PipelineError, match="how wide the token vectors are") as caught:
        token_vectors().initialize(X=[make_doc([2])])
    assert "trf_tok2vec" in caught.value.hint


def test_before_the_first_update_token_vectors_have_a_shape_only() -> None:
    model = make_token_vectors()
    new, empty = Doc(Vocab(), words=["a", "b"]), Doc(Vocab())
    assert [each.tolist() for each in model.predict([new, empty])] == [[[0.0] * WIDTH] * 2, []]
    for use in (model.begin_update, model.predict):
        with pytest.raises(PipelineError, match=r"no token vectors \(doc\.tensor\)"):
            use([make_doc([2]), new])
    # A Doc without tokens needs none.
    assert model.predict([empty])[0].shape == (0, WIDTH)


def test_it_is_saved_whether_there_was_an_update() -> None:
    model, again = make_token_vectors(), token_vectors()
    model.begin_update([make_doc([2])])
    again.from_bytes(model.to_bytes())
    assert again.get_dim("nO") == WIDTH
    with pytest.raises(PipelineError, match="no token vectors"):
        again.predict([Doc(Vocab(), words=["a"])])


def test_token_vectors_of_another_width_are_an_error() -> None:
    doc = make_doc([2])
    doc.tensor = np.zeros((1, WIDTH + 1), "f")
    with pytest.raises(PipelineError, match=f"{WIDTH + 1} columns, .* made for {WIDTH}"):
        make_token_vectors().predict([make_doc([2]), doc])


def test_add_gradient_replaces_the_array() -> None:
    # That it is another one tells the encoder that a head has been here, even with zeros.
    doc = make_doc([2])
    before = doc._.trf_d_last_hidden_state
    add_gradient(doc, "trf_last_hidden_state", slice(1, 2), np.ones((1, WIDTH), "f"))
    assert doc._.trf_d_last_hidden_state is not before
    assert not before.any()
    assert doc._.trf_d_last_hidden_state.tolist() == [[0.0] * WIDTH, [1.0] * WIDTH]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mean_last_hidden, r"token vectors \(doc\.tensor\)"),
        (means_of_segments, "trf_last_hidden_state"),
        (pooler_means, "trf_pooler_output"),
        (class_vector_means, "trf_last_hidden_state"),
    ],
)
def test_a_doc_without_activations_is_an_error(make: Callable[[], Model], name: str) -> None:
    with_them, without = make_doc([2]), Doc(Vocab(), words=["word"])
    with pytest.raises(PipelineError, match=f"no {name}") as caught:
        make().predict([with_them, without])
    assert "trf_tok2vec" in caught.value.hint


def test_scores_of_exclusive_classes_are_softmax() -> None:
    logits = np.array([[0.0, np.log(3.0)], [200.0, -200.0]], dtype="f")
    scores = class_scores(True).predict(logits)
    np.testing.assert_allclose(scores, [[0.25, 0.75], [1.0, 0.0]], rtol=1e-6)


def test_scores_of_independent_classes_are_sigmoids() -> None:
    logits = np.array([[0.0, np.log(3.0)], [50.0, -50.0]], dtype="f")
    scores = class_scores(False).predict(logits)
    np.testing.assert_allclose(scores, [[0.5, 0.75], [1.0, 0.0]], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_gradient_of_the_logits_is_handed_on(exclusive: bool) -> None:
    _, backprop = class_scores(exclusive).begin_update(random_rows(2, 0))
    gradient = random_rows(2, 1)
    np.testing.assert_array_equal(backprop(gradient), gradient)


def test_a_token_in_several_segments_has_its_share_of_each() -> None:
    # A token of two windows, and one more in the second.
    links = np.array([[0, 1], [0, 3], [1, 4]], dtype=np.int32)
    segments = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    alignment = Alignment(links, segments, 2)
    rows = np.arange(5 * WIDTH, dtype="f").reshape(5, WIDTH)
    matrix = np.array([[1, 1, 0.5, 1, 0], [0, 0, 0.5, 0, 1]], dtype="f")
    np.testing.assert_allclose(token_rows(OPS, alignment.shares(), rows), matrix @ rows)
    d_tokens = np.arange(2 * WIDTH, dtype="f").reshape(2, WIDTH)
    gradients = piece_gradients(OPS, alignment.shares(), d_tokens, 5)
    np.testing.assert_allclose(gradients, matrix.T @ d_tokens)
