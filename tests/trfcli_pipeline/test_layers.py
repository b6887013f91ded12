from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, NumpyOps

from trfcli_pipeline.alignment import Alignment
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.extensions import install_extensions
from trfcli_pipeline.layers import (
    add_gradient,
    class_scores,
    mean_class_vector,
    mean_last_hidden,
    mean_pooler_output,
    piece_gradients,
    token_rows,
)

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
    doc._.trf_last_hidden_state = random_rows(sum(lengths), seed)
    doc._.trf_pooler_output = random_rows(len(lengths), seed + 1)
    doc._.trf_d_last_hidden_state = np.zeros((sum(lengths), WIDTH), "f")
    doc._.trf_d_pooler_output = np.zeros((len(lengths), WIDTH), "f")
    return doc


def clear_gradients(docs: list[Doc]) -> None:
    for doc in docs:
        doc._.trf_d_last_hidden_state = doc._.trf_d_pooler_output = None


def class_vectors() -> Model:
    model = mean_class_vector()
    model.attrs["class_token_id"] = CLASS_ID
    return model


def test_mean_last_hidden_is_the_mean_of_all_wordpieces() -> None:
    docs = [make_doc([3, 2], 0), make_doc([4], 1)]
    means = mean_last_hidden().predict(docs)
    expected = [doc._.trf_last_hidden_state.mean(axis=0) for doc in docs]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_mean_pooler_output_is_the_mean_of_the_sentences() -> None:
    docs = [make_doc([3, 2], 0), make_doc([4], 1)]
    means = mean_pooler_output().predict(docs)
    expected = [doc._.trf_pooler_output.mean(axis=0) for doc in docs]
    np.testing.assert_allclose(means, expected, rtol=1e-6)


@pytest.mark.parametrize("class_at", [0, -1])
def test_the_class_vector_is_found_by_its_id(class_at: int) -> None:
    # At the start, as BERT's [CLS] and RoBERTa's <s>, or at the end, as XLNet's <cls>.
    docs = [make_doc([3, 2], 0, class_at=class_at), make_doc([4], 1, class_at=class_at)]
    rows = [(0, 3), (0,)] if class_at == 0 else [(2, 4), (3,)]
    expected = [
        doc._.trf_last_hidden_state[list(which)].mean(axis=0)
        for doc, which in zip(docs, rows, strict=True)
    ]
    np.testing.assert_allclose(class_vectors().predict(docs), expected, rtol=1e-6)


LAYERS = [mean_last_hidden, mean_pooler_output, class_vectors]


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
        (mean_pooler_output, "pooler_output", [0, 1]),
        (class_vectors, "last_hidden_state", [0, 3]),
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
        (mean_last_hidden, "trf_last_hidden_state"),
        (mean_pooler_output, "trf_pooler_output"),
        (class_vectors, "trf_last_hidden_state"),
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
