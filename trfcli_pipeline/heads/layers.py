"""Thinc layers that read activations off Docs and write gradients back to them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, Ragged

from trfcli_pipeline.encoder.activations import Floats
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.tokenization.alignment import Alignment, Shares
from trfcli_pipeline.tokenization.extensions import doc_alignment

# Thinc's Ops. Its types for arrays know nothing of numpy's.
ArrayOps = Any
DocVectors = tuple[Floats, Callable[[Floats], list[Doc]]]
DocRows = tuple[list[Floats], Callable[[list[Floats]], list[Doc]]]
DocSegments = tuple[Ragged, Callable[[Ragged], list[Doc]]]

# The name by which trf_tok2vec knows the layers that read its token vectors.
TOKEN_VECTORS = "trf_token_vectors"
_HIDDEN = "trf_last_hidden_state"
_POOLER = "trf_pooler_output"


def token_rows(ops: ArrayOps, shares: Shares, piece_rows: Floats) -> Floats:
    """Sum the rows of wordpieces to rows of tokens, by the shares of the alignment.

    *Shapes:* (wordpieces, width) to (tokens, width)
    """
    rows = _own_rows(ops, shares, piece_rows)
    common = _sum_runs(ops, piece_rows[shares.common_pieces], shares.common_per_segment)
    common *= ops.asarray2f(shares.common_weights.reshape(-1, 1))
    shared = ops.backprop_reduce_sum(common, ops.asarray1i(shares.seen_per_segment))
    segments_per_token = np.bincount(shares.seen_tokens, minlength=len(rows))
    if segments_per_token.max(initial=0) > 1:
        # A token that is longer than the encoder takes is in several segments.
        return rows + _sum_runs(ops, shared, segments_per_token)
    if len(shared) == len(rows):
        rows += shared
    else:
        rows[shares.seen_tokens] += shared
    return rows


def _own_rows(ops: ArrayOps, shares: Shares, piece_rows: Floats) -> Floats:
    """Sum the rows of the wordpieces that are linked with each token."""
    n_tokens = len(shares.pieces_per_token)
    rows = ops.alloc2f(n_tokens, piece_rows.shape[1])
    # Most tokens are one wordpiece, whose row only has to be copied.
    is_whole = (shares.weights == 1) & (shares.pieces_per_token[shares.tokens] == 1)
    whole, parts = np.flatnonzero(is_whole), np.flatnonzero(~is_whole)
    rows[shares.tokens[whole]] = piece_rows[shares.pieces[whole]]
    counts = np.bincount(shares.tokens[parts], minlength=n_tokens)
    weights = ops.asarray2f(shares.weights[parts].reshape(-1, 1))
    summed = np.flatnonzero(counts)
    weighted = piece_rows[shares.pieces[parts]] * weights
    rows[summed] = _sum_runs(ops, weighted, counts[summed])
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


def token_vectors() -> Model[list[Doc], list[Floats]]:
    """The rows of `doc.tensor`: the `tok2vec` layer of spaCy's own components.

    The width, `nO`, is set by trf_tok2vec (see `TransformersTok2Vec.find_listeners`).
    *Shape of each:* (tokens, width)
    """
    return Model(
        TOKEN_VECTORS,
        _forward_token_vectors,
        init=_init_token_vectors,
        dims={"nO": None},
        attrs={"is_trained": False},
    )


def _init_token_vectors(model: Model, X: Any = None, Y: Any = None) -> None:
    if model.has_dim("nO") is None:
        raise PipelineError(
            "Nothing tells how wide the token vectors are",
            hint="The pipeline needs trf_tok2vec, and its weights, ahead of a component with "
            "trfcli.TokenVectors.v1",
        )


def _forward_token_vectors(model: Model, docs: Sequence[Doc], is_train: bool) -> DocRows:
    if is_train:
        model.attrs["is_trained"] = True
    width = model.get_dim("nO")
    rows = _token_rows_of(model.ops, docs, width, needed=model.attrs["is_trained"])
    if any(each.shape[1] != width for each in rows):
        found = next(each.shape[1] for each in rows if each.shape[1] != width)
        raise PipelineError(
            f"doc.tensor has {found} columns, but this component was made for {width}",
            hint="Train the component anew for this encoder",
        )

    def backprop(d_rows: list[Floats]) -> list[Doc]:
        _add_token_gradients(model.ops, docs, d_rows)
        return list(docs)

    return rows, backprop


def _token_rows_of(ops: ArrayOps, docs: Sequence[Doc], width: int, *, needed: bool) -> list[Floats]:
    """`doc.tensor` of each Doc; zeros where it is missing and not needed.

    `nlp.initialize` infers shapes from Docs that no component has seen yet.
    """
    if needed and any(len(doc) and not doc.tensor.size for doc in docs):
        raise _missing("token vectors (doc.tensor)")
    return [doc.tensor if doc.tensor.size else ops.alloc2f(len(doc), width) for doc in docs]


def _add_token_gradients(ops: ArrayOps, docs: Sequence[Doc], d_rows: Sequence[Floats]) -> None:
    taking = [(doc, d) for doc, d in zip(docs, d_rows, strict=True) if _takes(doc, _HIDDEN)]
    alignments = [alignment for doc, _ in taking if (alignment := doc_alignment(doc))]
    if not alignments:
        return
    whole = Alignment.concatenate(alignments)
    d_tokens = ops.xp.concatenate([d for _, d in taking])
    d_pieces = piece_gradients(ops, whole.shares(), d_tokens, whole.n_pieces)
    start = 0
    for (doc, _), alignment in zip(taking, alignments, strict=True):
        end = start + alignment.n_pieces
        add_gradient(doc, _HIDDEN, slice(None), d_pieces[start:end])
        start = end


def mean_last_hidden() -> Model[list[Doc], Floats]:
    """The mean of each Doc's wordpiece rows, special tokens included; zeros for an empty Doc.

    The sum over wordpieces is that over the rows of `doc.tensor`, from which it is taken.
    *Shape:* (docs, width)
    """
    return Model("trf_mean_last_hidden", _forward_mean_last_hidden)


def segment_means() -> Model[list[Doc], Ragged]:
    """The mean of the wordpiece rows of each segment (see `segments.py`) that has some.

    As for the other layers of segments, a Doc without any has one row of zeros, and
    `attrs["reads"]` is the kind of activation that has to be on the Docs.
    *Shape:* (segments, width), those of each Doc together
    """
    attrs = {"reads": "last_hidden_state"}
    return Model("trf_segment_means", _forward_segment_means, attrs=attrs)


def class_vectors() -> Model[list[Doc], Ragged]:
    """The last hidden state of each class token, one a segment.

    `attrs["class_token_id"]` has to be set before use. *Shape:* (segments, width)
    """
    attrs = {"reads": "last_hidden_state", "class_token_id": None}
    return Model("trf_class_vectors", _forward_class_vectors, attrs=attrs)


def pooler_outputs() -> Model[list[Doc], Ragged]:
    """The trained pooler's output for each segment. *Shape:* (segments, width)"""
    attrs = {"reads": "pooler_output"}
    return Model("trf_pooler_outputs", _forward_pooler_outputs, attrs=attrs)


def _forward_mean_last_hidden(model: Model, docs: Sequence[Doc], is_train: bool) -> DocVectors:
    ops: ArrayOps = model.ops
    tensors = _tensors(docs)
    counts = [int(doc._.trf_segments[:, 2].sum()) for doc in docs]
    divisors = ops.asarray2f(np.maximum(counts, 1).reshape(-1, 1))
    sums = _sum_runs(ops, ops.xp.concatenate(tensors), [len(each) for each in tensors])

    def backprop(d_means: Floats) -> list[Doc]:
        for doc, d_row in zip(docs, d_means / divisors, strict=True):
            add_gradient(doc, _HIDDEN, slice(None), d_row)
        return list(docs)

    return sums / divisors, backprop


def _forward_segment_means(model: Model, docs: Sequence[Doc], is_train: bool) -> DocSegments:
    ops: ArrayOps = model.ops
    all_rows = _read(docs, _HIDDEN)
    # A segment without wordpieces (GPT-2 gives a blank none) has no mean.
    counts = [each[each > 0] for each in (doc._.trf_segments[:, 2] for doc in docs)]
    parts = [
        _sum_runs(ops, rows, count) / ops.asarray2f(count.reshape(-1, 1))
        for rows, count in zip(all_rows, counts, strict=True)
    ]

    def write(doc: Doc, count: Any, d_means: Floats) -> None:
        d_pieces = ops.xp.repeat(d_means / ops.asarray2f(count.reshape(-1, 1)), count, axis=0)
        add_gradient(doc, _HIDDEN, slice(None), d_pieces)

    return _segments(ops, docs, parts, counts, write)


def _forward_class_vectors(model: Model, docs: Sequence[Doc], is_train: bool) -> DocSegments:
    class_id = model.attrs["class_token_id"]
    chosen = [np.flatnonzero(np.asarray(doc._.trf_word_pieces) == class_id) for doc in docs]
    parts = [rows[which] for rows, which in zip(_read(docs, _HIDDEN), chosen, strict=True)]

    def write(doc: Doc, which: Any, d_rows: Floats) -> None:
        add_gradient(doc, _HIDDEN, which, d_rows)

    return _segments(model.ops, docs, parts, chosen, write)


def _forward_pooler_outputs(model: Model, docs: Sequence[Doc], is_train: bool) -> DocSegments:
    parts = _read(docs, _POOLER)

    def write(doc: Doc, which: Any, d_rows: Floats) -> None:
        add_gradient(doc, _POOLER, which, d_rows)

    return _segments(model.ops, docs, parts, [slice(None)] * len(parts), write)


def _segments(
    ops: ArrayOps,
    docs: Sequence[Doc],
    parts: Sequence[Floats],
    keys: Sequence[Any],
    write: Callable[[Doc, Any, Floats], None],
) -> DocSegments:
    """Join the rows of each Doc's segments; `write` gets their gradients, with the Doc's key."""
    filled = [part if len(part) else ops.alloc2f(1, part.shape[1]) for part in parts]
    lengths = ops.asarray1i([len(part) for part in filled])

    def backprop(d_rows: Ragged) -> list[Doc]:
        ends = np.cumsum([len(part) for part in filled])
        for doc, key, part, end in zip(docs, keys, parts, ends.tolist(), strict=True):
            if len(part):
                write(doc, key, d_rows.dataXd[end - len(part) : end])
        return list(docs)

    return Ragged(ops.xp.concatenate(filled), lengths), backprop


def add_gradient(doc: Doc, name: str, which: Any, gradient: Floats) -> None:
    """Add to the gradient of some rows of one of a Doc's activations.

    Does nothing where no update of the encoder is running, as with a frozen one.

    Args:
        name: The activation's attribute, such as "trf_last_hidden_state".
        which: Index of the rows. An index must not come twice.
    """
    if not _takes(doc, name):
        return
    # A new array: that it is another one tells the encoder that a head has been here.
    total = doc._.get(_gradient_of(name)).copy()
    total[which] += gradient
    doc._.set(_gradient_of(name), total)


def _takes(doc: Doc, name: str) -> bool:
    """Whether the encoder waits for gradients of one of the Doc's activations."""
    return doc._.get(_gradient_of(name)) is not None


def _gradient_of(name: str) -> str:
    return name.replace("trf_", "trf_d_", 1)


def _tensors(docs: Sequence[Doc]) -> list[Floats]:
    """`doc.tensor` of each Doc, which an empty Doc has too if the encoder has seen it."""
    if any(doc.tensor.ndim != 2 or doc._.trf_segments is None for doc in docs):
        raise _missing("token vectors (doc.tensor)")
    return [doc.tensor for doc in docs]


def _read(docs: Sequence[Doc], name: str) -> list[Floats]:
    rows = [doc._.get(name) for doc in docs]
    if any(each is None for each in rows):
        raise _missing(name)
    return rows


def _missing(name: str) -> PipelineError:
    return PipelineError(
        f"A Doc has no {name}",
        hint="The pipeline needs trf_wordpiecer and trf_tok2vec ahead of this component. The "
        "latter has to `keep` what is read; if it is frozen, name it in annotating_components",
    )


def class_scores(exclusive: bool) -> Model[Floats, Floats]:
    """Turn logits into probabilities: softmax if exactly one class holds, else sigmoids.

    The backward pass takes the gradient of the loss with respect to the logits (see
    `losses.py`), as Thinc's own Softmax does; so it hands on what it gets.
    """
    return Model("class_scores", _forward_softmax if exclusive else _forward_sigmoid)


def _forward_softmax(model: Model, X: Floats, is_train: bool) -> Any:
    return model.ops.softmax(X), _identity


def _forward_sigmoid(model: Model, X: Floats, is_train: bool) -> Any:
    return model.ops.sigmoid(X), _identity


def _identity(gradient: Floats) -> Floats:
    return gradient
