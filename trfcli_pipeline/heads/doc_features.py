"""Layers that read the activations of Docs as the input of a classifier.

Their backward pass writes gradients back to the Docs. `mean_last_hidden` returns one row per Doc;
the other layers return one row per segment (see `tokenization/segments.py`), and one row of zeros
for a Doc without segments. Their attribute `reads` names the kind of activation that
`trf_tok2vec` has to keep, unless it is one that is always kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, Ops, Ragged
from thinc.types import Floats2d

from trfcli_pipeline.heads.doc_gradients import add_gradient, add_sum_gradient, missing_activation
from trfcli_pipeline.heads.token_rows import sum_runs
from trfcli_pipeline.tokenization.doc_attributes import (
    HIDDEN,
    POOLER,
    SEGMENTS,
    SUMS,
    WORD_PIECES,
    stored,
)

DocOutput = tuple[Floats2d, Callable[[Floats2d], list[Doc]]]
# What a backward pass needs to know about a Doc.
Key = TypeVar("Key")
SegmentOutput = tuple[Ragged, Callable[[Ragged], list[Doc]]]


def mean_last_hidden() -> Model[list[Doc], Floats2d]:
    """Create a layer that averages the last hidden states of all wordpieces of a Doc.

    Special tokens count. An empty Doc has zeros. *Shape:* (docs, width)
    """
    return Model("trf_mean_last_hidden", _forward_mean_last_hidden)


def segment_means() -> Model[list[Doc], Ragged]:
    """Create a layer that averages the last hidden states of each segment's wordpieces.

    Segments without wordpieces are left out. *Shape:* (segments, width)
    """
    return Model("trf_segment_means", _forward_segment_means)


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
    parts = _read(docs, SUMS)
    divisors = ops.asarray2f([[max(len(stored(doc, WORD_PIECES)), 1)] for doc in docs])
    lengths = np.array([len(each) for each in parts])
    sums = ops.xp.concatenate(parts)
    if (lengths != 1).any():
        sums = sum_runs(ops, sums, lengths)

    def backprop(d_means: Floats2d) -> list[Doc]:
        for doc, d_row in zip(docs, d_means / divisors, strict=True):
            add_sum_gradient(doc, d_row)
        return list(docs)

    return sums / divisors, backprop


def _forward_segment_means(model: Model, docs: Sequence[Doc], is_train: bool) -> SegmentOutput:
    ops = model.ops
    all_sums = _read(docs, SUMS)
    counts = [stored(doc, SEGMENTS)[:, 2] for doc in docs]
    # A segment without wordpieces has no mean; GPT-2 has none for a blank sentence.
    filled: list[Any] = [np.flatnonzero(each) for each in counts]
    divisors = [
        ops.asarray2f(count[which].reshape(-1, 1))
        for count, which in zip(counts, filled, strict=True)
    ]
    parts = [
        sums[which] / divisor
        for sums, which, divisor in zip(all_sums, filled, divisors, strict=True)
    ]

    def write(doc: Doc, key: Any, d_means: Floats2d) -> None:
        which, divisor = key
        d_sums = ops.alloc2f(len(stored(doc, SEGMENTS)), d_means.shape[1])
        d_sums[which] = d_means / divisor
        add_sum_gradient(doc, d_sums)

    return _join(ops, docs, parts, list(zip(filled, divisors, strict=True)), write)


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


def _read(docs: Sequence[Doc], name: str) -> list[Floats2d]:
    rows = [stored(doc, name) for doc in docs]
    if any(each is None for each in rows):
        raise missing_activation(name)
    return rows
