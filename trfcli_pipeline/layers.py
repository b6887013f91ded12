"""Thinc layers that read activations off Docs and write gradients back to them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model

from trfcli_pipeline.activations import Floats
from trfcli_pipeline.alignment import Shares
from trfcli_pipeline.errors import PipelineError

# Thinc's Ops. Its types for arrays know nothing of numpy's.
ArrayOps = Any
DocVectors = tuple[Floats, Callable[[Floats], list[Doc]]]


def token_rows(ops: ArrayOps, shares: Shares, piece_rows: Floats) -> Floats:
    """Sum the rows of wordpieces to rows of tokens, by the shares of the alignment.

    *Shapes:* (wordpieces, width) to (tokens, width)
    """
    weights = ops.asarray2f(shares.weights.reshape(-1, 1))
    rows = _sum_runs(ops, piece_rows[shares.pieces] * weights, shares.pieces_per_token)
    common = _sum_runs(ops, piece_rows[shares.common_pieces], shares.common_per_segment)
    common *= ops.asarray2f(shares.common_weights.reshape(-1, 1))
    # A token is in one segment, so no index comes twice.
    rows[shares.seen_tokens] += ops.backprop_reduce_sum(
        common, ops.asarray1i(shares.seen_per_segment)
    )
    return rows


def piece_gradients(ops: ArrayOps, shares: Shares, d_token_rows: Floats, n_pieces: int) -> Floats:
    """The backward pass of `token_rows`.

    *Shapes:* (tokens, width) to (wordpieces, width)
    """
    d_pieces = ops.alloc2f(n_pieces, d_token_rows.shape[1])
    weights = ops.asarray2f(shares.weights.reshape(-1, 1))
    ops.scatter_add(d_pieces, shares.pieces, d_token_rows[shares.tokens] * weights)
    d_common = _sum_runs(ops, d_token_rows[shares.seen_tokens], shares.seen_per_segment)
    d_common *= ops.asarray2f(shares.common_weights.reshape(-1, 1))
    d_pieces[shares.common_pieces] = ops.backprop_reduce_sum(
        d_common, ops.asarray1i(shares.common_per_segment)
    )
    return d_pieces


def _sum_runs(ops: ArrayOps, rows: Floats, lengths: Any) -> Floats:
    if not len(rows):
        return ops.alloc2f(len(lengths), rows.shape[1])
    # In double precision: a URL of a hundred wordpieces would gather their rounding errors.
    sums = ops.reduce_sum(rows.astype("float64"), ops.asarray1i(lengths))
    return sums.astype("float32")


def mean_last_hidden() -> Model[list[Doc], Floats]:
    """The mean of each Doc's wordpiece rows, special tokens included; zeros for an empty Doc."""
    return Model("trf_mean_last_hidden", _forward_mean_last_hidden)


def mean_pooler_output() -> Model[list[Doc], Floats]:
    """The mean over each Doc's sentences of the trained pooler's output."""
    return Model("trf_mean_pooler_output", _forward_mean_pooler_output)


def mean_class_vector() -> Model[list[Doc], Floats]:
    """The mean over each Doc's sentences of the last hidden state of the class token.

    `attrs["class_token_id"]` has to be set before use.
    """
    return Model(
        "trf_mean_class_vector", _forward_mean_class_vector, attrs={"class_token_id": None}
    )


def _forward_mean_last_hidden(model: Model, docs: Sequence[Doc], is_train: bool) -> DocVectors:
    rows = _read(docs, "trf_last_hidden_state")
    return _mean_rows(model.ops, docs, "trf_last_hidden_state", [slice(None)] * len(rows))


def _forward_mean_pooler_output(model: Model, docs: Sequence[Doc], is_train: bool) -> DocVectors:
    rows = _read(docs, "trf_pooler_output")
    return _mean_rows(model.ops, docs, "trf_pooler_output", [slice(None)] * len(rows))


def _forward_mean_class_vector(model: Model, docs: Sequence[Doc], is_train: bool) -> DocVectors:
    class_id = model.attrs["class_token_id"]
    chosen = [np.flatnonzero(np.asarray(doc._.trf_word_pieces) == class_id) for doc in docs]
    return _mean_rows(model.ops, docs, "trf_last_hidden_state", chosen)


def _mean_rows(ops: ArrayOps, docs: Sequence[Doc], name: str, chosen: Sequence[Any]) -> DocVectors:
    """Average the chosen rows of an activation, doc by doc."""
    parts = [rows[which] for rows, which in zip(_read(docs, name), chosen, strict=True)]
    lengths = ops.asarray1i([len(part) for part in parts])
    divisors = ops.xp.maximum(lengths, 1).astype("f").reshape(-1, 1)
    means = _sum_runs(ops, ops.xp.concatenate(parts), lengths) / divisors

    def backprop(d_means: Floats) -> list[Doc]:
        for doc, which, d_mean, divisor in zip(docs, chosen, d_means, divisors, strict=True):
            add_gradient(doc, name, which, d_mean / divisor)
        return list(docs)

    return means, backprop


def add_gradient(doc: Doc, name: str, which: Any, gradient: Floats) -> None:
    """Add to the gradient of some rows of one of a Doc's activations.

    Does nothing where no update of the encoder is running, as with a frozen one.

    Args:
        name: The activation's attribute, such as "trf_last_hidden_state".
        which: Index of the rows. An index must not come twice.
    """
    d_name = name.replace("trf_", "trf_d_", 1)
    so_far = doc._.get(d_name)
    if so_far is None:
        return
    # A new array: that it is another one tells the encoder that a head has been here.
    total = so_far.copy()
    total[which] += gradient
    doc._.set(d_name, total)


def _read(docs: Sequence[Doc], name: str) -> list[Floats]:
    rows = [doc._.get(name) for doc in docs]
    if any(each is None for each in rows):
        raise PipelineError(
            f"A Doc has no {name}",
            hint="The pipeline needs trf_wordpiecer and trf_tok2vec ahead of this component",
        )
    return rows


def class_scores(exclusive: bool) -> Model[Floats, Floats]:
    """Turn logits into probabilities: softmax if exactly one class holds, else sigmoids.

    The backward pass takes the gradient of the cross-entropy with respect to the logits, scores
    minus truth, as Thinc's own Softmax does; so it hands on what it gets.
    """
    return Model("class_scores", _forward_softmax if exclusive else _forward_sigmoid)


def _forward_softmax(model: Model, X: Floats, is_train: bool) -> Any:
    return model.ops.softmax(X), _identity


def _forward_sigmoid(model: Model, X: Floats, is_train: bool) -> Any:
    return model.ops.sigmoid(X), _identity


def _identity(gradient: Floats) -> Floats:
    return gradient
