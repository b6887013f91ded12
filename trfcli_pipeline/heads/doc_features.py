"""Layers that read the activations of Docs as the input of a classifier.

Their backward pass writes gradients back to the Docs. `mean_last_hidden` returns one row per Doc;
the other layers return one row per segment (see `tokenization/segments.py`), and one row of zeros
for a Doc without segments. Their attribute `reads` names the kind of activation that
`trf_tok2vec` has to keep.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, Ops, Ragged
from thinc.types import Floats2d

from trfcli_pipeline.heads.doc_gradients import add_gradient, missing_activation
from trfcli_pipeline.heads.doc_tensor import doc_tensor
from trfcli_pipeline.heads.token_rows import sum_runs
from trfcli_pipeline.tokenization.doc_attributes import (
    HIDDEN,
    POOLER,
    SEGMENTS,
    WORD_PIECES,
    stored,
)

DocOutput = tuple[Floats2d, Callable[[Floats2d], list[Doc]]]
# What a backward pass needs to know about a Doc.
Key = TypeVar("Key")
SegmentOutput = tuple[Ragged, Callable[[Ragged], list[Doc]]]


def mean_last_hidden() -> Model[list[Doc], Floats2d]:
    """Create a layer that averages the last hidden states of all wordpieces of a Doc.

    Special tokens count. We sum `doc.tensor`, because its rows add up to those of the wordpieces.
    An empty Doc has zeros. *Shape:* (docs, width)
    """
    return Model("trf_mean_last_hidden", _forward_mean_last_hidden)


def segment_means() -> Model[list[Doc], Ragged]:
    """Create a layer that averages the last hidden states of each segment's wordpieces.

    Segments without wordpieces are left out. *Shape:* (segments, width)
    """
    attrs = {"reads": "last_hidden_state"}
    return Model("trf_segment_means", _forward_segment_means, attrs=attrs)


def class_vectors() -> Model[list[Doc], Ragged]:
    """Create a layer that returns the last hidden state of each segment's class token.

    Set `attrs["class_token_id"]` before use. *Shape:* (segments, width)
    """
    attrs = {"reads": "last_hidden_state", "class_token_id": None}
    return Model("trf_class_vectors", _forward_class_vectors, attrs=attrs)


def pooler_outputs() -> Model[list[Doc], Ragged]:
    """Create a layer that returns the pooler output of each segment.

    *Shape:* (segments, width)
    """
    attrs = {"reads": "pooler_output"}
    return Model("trf_pooler_outputs", _forward_pooler_outputs, attrs=attrs)


def _forward_mean_last_hidden(model: Model, docs: Sequence[Doc], is_train: bool) -> DocOutput:
    ops = model.ops
    tensors = _tensors(docs)
    divisors = ops.asarray2f([[max(len(stored(doc, WORD_PIECES)), 1)] for doc in docs])
    lengths = np.array([len(each) for each in tensors])
    sums = sum_runs(ops, ops.xp.concatenate(tensors), lengths)

    def backprop(d_means: Floats2d) -> list[Doc]:
        for doc, d_row in zip(docs, d_means / divisors, strict=True):
            add_gradient(doc, HIDDEN, slice(None), d_row)
        return list(docs)

    return sums / divisors, backprop


def _forward_segment_means(model: Model, docs: Sequence[Doc], is_train: bool) -> SegmentOutput:
    ops = model.ops
    all_rows = _read(docs, HIDDEN)
    # A segment without wordpieces has no mean; GPT-2 has none for a blank sentence.
    counts = [each[each > 0] for each in (stored(doc, SEGMENTS)[:, 2] for doc in docs)]
    parts = [
        sum_runs(ops, rows, count) / ops.asarray2f(count.reshape(-1, 1))
        for rows, count in zip(all_rows, counts, strict=True)
    ]

    def write(doc: Doc, count: Any, d_means: Floats2d) -> None:
        d_pieces = ops.xp.repeat(d_means / ops.asarray2f(count.reshape(-1, 1)), count, axis=0)
        add_gradient(doc, HIDDEN, slice(None), d_pieces)

    return _join(ops, docs, parts, counts, write)


def _forward_class_vectors(model: Model, docs: Sequence[Doc], is_train: bool) -> SegmentOutput:
    class_id = model.attrs["class_token_id"]
    chosen = [np.flatnonzero(np.asarray(stored(doc, WORD_PIECES)) == class_id) for doc in docs]
    return _select(model.ops, docs, HIDDEN, chosen)


def _forward_pooler_outputs(model: Model, docs: Sequence[Doc], is_train: bool) -> SegmentOutput:
    return _select(model.ops, docs, POOLER, [slice(None)] * len(docs))


def _select(ops: Ops, docs: Sequence[Doc], name: str, chosen: Sequence[Any]) -> SegmentOutput:
    """Read the chosen rows of an activation of each Doc."""
    parts = [rows[which] for rows, which in zip(_read(docs, name), chosen, strict=True)]

    def write(doc: Doc, which: Any, d_rows: Floats2d) -> None:
        add_gradient(doc, name, which, d_rows)

    return _join(ops, docs, parts, chosen, write)


def _join(
    ops: Ops,
    docs: Sequence[Doc],
    parts: Sequence[Floats2d],
    keys: Sequence[Key],
    write: Callable[[Doc, Key, Floats2d], None],
) -> SegmentOutput:
    """Join the rows of all Docs, and have the backward pass split their gradient again.

    Args:
        parts: The rows of each Doc's segments. *Shape of each:* (segments, width)
        keys: What `write` needs to know about each Doc.
        write: Called in the backward pass with each Doc, its key and the gradient of its rows.
    """
    filled = [part if len(part) else ops.alloc2f(1, part.shape[1]) for part in parts]
    lengths = ops.asarray1i([len(part) for part in filled])

    def backprop(d_rows: Ragged) -> list[Doc]:
        ends = np.cumsum([len(part) for part in filled])
        for doc, key, part, end in zip(docs, keys, parts, ends.tolist(), strict=True):
            if len(part):
                write(doc, key, cast(Floats2d, d_rows.data)[end - len(part) : end])
        return list(docs)

    return Ragged(ops.xp.concatenate(filled), lengths), backprop


def _tensors(docs: Sequence[Doc]) -> list[Floats2d]:
    """Return `doc.tensor` of each Doc. An empty Doc has one too once the encoder has seen it."""
    if any(doc.tensor.ndim != 2 or stored(doc, WORD_PIECES) is None for doc in docs):
        raise missing_activation("token vectors (doc.tensor)")
    return [doc_tensor(doc) for doc in docs]


def _read(docs: Sequence[Doc], name: str) -> list[Floats2d]:
    rows = [stored(doc, name) for doc in docs]
    if any(each is None for each in rows):
        raise missing_activation(name)
    return rows
