import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import NumpyOps

from trfcli_pipeline.encoder.activations import KINDS, Activations
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_gradients import add_gradient, add_sum_gradient
from trfcli_pipeline.pipeline.pending_update import PendingUpdate
from trfcli_pipeline.tokenization.extensions import install_extensions

install_extensions()

# Number of segments of each Doc.
SEGMENTS = (2, 0, 1)
WIDTH, LAYERS, HEADS = 2, 1, 2
# Sums have none if rows have one.
ROW_KINDS = [kind for kind in KINDS if kind != "segment_sums"]
GRADIENTS = [f"trf_d_{kind}" for kind in ROW_KINDS]


def make_docs() -> list[Doc]:
    """Docs whose segments have one token and three wordpieces each."""
    docs = [Doc(Vocab(), words=["a"] * n_segments) for n_segments in SEGMENTS]
    for doc in docs:
        doc._.trf_segments = np.array([(i, i + 1, 3) for i in range(len(doc))], "i").reshape(-1, 3)
    return docs


def make_activations(*, every: bool = True) -> Activations:
    return Activations(
        last_hidden_state=np.ones((9, WIDTH), "f"),
        pooler_output=np.ones((3, WIDTH), "f") if every else None,
        all_hidden_states=[np.ones((9, WIDTH), "f")] * (LAYERS + 1) if every else None,
        all_attentions=[np.ones((LAYERS, HEADS, 3, 3), "f")] * 3 if every else None,
        lengths=np.array([3, 3, 3], dtype=np.int32),
        segment_sums=np.ones((3, WIDTH), "f"),
    )


def begin(docs: list[Doc], *, every: bool = True) -> PendingUpdate:
    outputs = make_activations(every=every)
    return PendingUpdate.begin(docs, outputs, NumpyOps(), lambda _: None)


@pytest.mark.parametrize("every", [True, False])
def test_docs_get_zeros_of_the_shapes_of_the_activations(every: bool) -> None:
    docs = make_docs()
    pending = begin(docs, every=every)
    assert [doc._.trf_d_last_hidden_state.shape for doc in docs] == [(6, 2), (0, 2), (3, 2)]
    assert not any(doc._.trf_d_last_hidden_state.any() for doc in docs)
    assert all(doc._.trf_d_segment_sums is None for doc in docs)
    for doc, n_segments in zip(docs, SEGMENTS, strict=True):
        assert (doc._.trf_d_pooler_output is not None) == every
        if every:
            assert doc._.trf_d_pooler_output.shape == (n_segments, WIDTH)
            assert len(doc._.trf_d_all_hidden_states) == LAYERS + 1
            assert len(doc._.trf_d_all_attentions) == n_segments
    assert not pending.has_gradients()


def test_sums_have_a_gradient_if_rows_have_none() -> None:
    docs = make_docs()
    outputs = make_activations().only({"segment_sums"})
    pending = PendingUpdate.begin(docs, outputs, NumpyOps(), lambda _: None)
    assert all(doc._.get(attribute) is None for doc in docs for attribute in GRADIENTS)
    assert [doc._.trf_d_segment_sums.shape for doc in docs] == [(2, 2), (0, 2), (1, 2)]
    add_sum_gradient(docs[0], np.array([[1.0, 1.0], [2.0, 2.0]], "f"))
    add_sum_gradient(docs[2], np.ones(WIDTH, "f"))
    assert pending.has_gradients()
    taken = pending.take_gradients()
    assert taken.segment_sums.tolist() == [[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
    assert taken.last_hidden_state is None


@pytest.mark.parametrize("attribute", GRADIENTS)
def test_a_gradient_is_noticed_in_place_or_replaced(attribute: str) -> None:
    docs = make_docs()
    pending = begin(docs)
    gradient = docs[2]._.get(attribute)
    if isinstance(gradient, list):
        gradient[0][...] = 1.0
    else:
        gradient[0] = 1.0
    assert pending.has_gradients()
    docs = make_docs()
    pending = begin(docs)
    # Zeros are a gradient, too, if a head has set them.
    docs[0]._.set(attribute, [] if isinstance(gradient, list) else np.zeros((6, WIDTH), "f"))
    assert pending.has_gradients()


def test_gradients_are_taken_once() -> None:
    docs = make_docs()
    pending = begin(docs)
    docs[0]._.trf_d_last_hidden_state += 2.0
    docs[2]._.trf_d_pooler_output = docs[2]._.trf_d_pooler_output + 3.0
    taken = pending.take_gradients()
    assert taken.is_grad
    assert taken.lengths.tolist() == [3, 3, 3]
    assert taken.last_hidden_state.sum(axis=1).tolist() == [4.0] * 6 + [0.0] * 3
    assert taken.pooler_output.sum(axis=1).tolist() == [0.0, 0.0, 6.0]
    assert all(doc._.get(attribute) is None for doc in docs for attribute in GRADIENTS)


@pytest.mark.parametrize("kind", ["last_hidden_state", "pooler_output"])
def test_outputs_that_no_head_reads_have_no_gradient(kind: str) -> None:
    docs = make_docs()
    pending = begin(docs)
    add_gradient(docs[0], f"trf_{kind}", slice(None), np.ones(WIDTH, "f"))
    taken = pending.take_gradients()
    read = {each for each in KINDS if getattr(taken, each) is not None}
    assert read == {kind}


def test_lists_of_arrays_can_be_replaced_too() -> None:
    docs = make_docs()
    pending = begin(docs)
    docs[0]._.trf_d_all_hidden_states = [each + 2.0 for each in docs[0]._.trf_d_all_hidden_states]
    docs[2]._.trf_d_all_attentions = [each + 3.0 for each in docs[2]._.trf_d_all_attentions]
    # None stands for no gradient.
    docs[1]._.trf_d_pooler_output = None
    taken = pending.take_gradients()
    for layer in taken.all_hidden_states:
        assert layer.sum(axis=1).tolist() == [4.0] * 6 + [0.0] * 3
    assert [each.mean() for each in taken.all_attentions] == [0.0, 0.0, 3.0]
    assert not taken.pooler_output.any()


def test_items_of_lists_can_be_replaced() -> None:
    docs = make_docs()
    pending = begin(docs)
    layers = docs[0]._.trf_d_all_hidden_states
    layers[-1] = layers[-1] + 2.0
    attentions = docs[2]._.trf_d_all_attentions
    attentions[0] = attentions[0] + 3.0
    assert pending.has_gradients()
    taken = pending.take_gradients()
    assert [layer.max() for layer in taken.all_hidden_states] == [0.0] * LAYERS + [2.0]
    assert [each.mean() for each in taken.all_attentions] == [0.0, 0.0, 3.0]


def test_a_gradient_can_be_replaced_by_another_view_of_it() -> None:
    docs = make_docs()
    pending = begin(docs)
    docs[0]._.trf_d_last_hidden_state[0] = 1.0
    docs[0]._.trf_d_last_hidden_state = docs[0]._.trf_d_last_hidden_state[::-1]
    taken = pending.take_gradients().last_hidden_state
    assert taken.sum(axis=1).tolist() == [0.0] * 5 + [2.0] + [0.0] * 3


def test_adding_leaves_the_arrays_that_other_heads_have_set() -> None:
    docs = make_docs()
    pending = begin(docs)
    shared = np.broadcast_to(np.float32(1.0), (6, WIDTH))
    own = np.ones((9, WIDTH), "f")
    docs[0]._.trf_d_last_hidden_state = shared
    docs[2]._.trf_d_last_hidden_state = own[:3]
    for doc in (docs[0], docs[2], docs[2]):
        add_gradient(doc, "trf_last_hidden_state", slice(0, 1), np.ones(WIDTH, "f"))
    assert (own == 1.0).all()
    taken = pending.take_gradients().last_hidden_state
    assert taken.sum(axis=1).tolist() == [4.0] + [2.0] * 5 + [6.0] + [2.0] * 2


def test_a_gradient_of_another_shape_is_an_error() -> None:
    docs = make_docs()
    pending = begin(docs)
    docs[0]._.trf_d_last_hidden_state = np.ones((1, WIDTH), "f")
    with pytest.raises(PipelineError, match=r"trf_d_last_hidden_state .* \(1, 2\) .* \(6, 2\)"):
        pending.take_gradients()


def test_heads_add_to_the_gradients_of_the_batch() -> None:
    docs = make_docs()
    pending = begin(docs)
    for _ in range(2):
        add_gradient(docs[0], "trf_last_hidden_state", slice(1, 3), np.ones(WIDTH, "f"))
    assert pending.has_gradients()
    taken = pending.take_gradients().last_hidden_state
    assert taken.sum(axis=1).tolist() == [0.0, 4.0, 4.0] + [0.0] * 6


def test_a_gradient_of_zeros_is_noticed() -> None:
    docs = make_docs()
    pending = begin(docs)
    add_gradient(docs[2], "trf_pooler_output", slice(None), np.zeros(WIDTH, "f"))
    assert pending.has_gradients()


def test_only_the_public_attributes_stay_on_docs() -> None:
    docs = make_docs()
    names = {name for doc in docs for _, name, *_ in doc.user_data}
    begin(docs).clear()
    left = {name for doc in docs for _, name, *_ in doc.user_data}
    assert left - names == {f"trf_d_{kind}" for kind in ROW_KINDS}
