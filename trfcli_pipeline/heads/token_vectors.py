"""The rows of `doc.tensor` as the `tok2vec` layer of spaCy's own components."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, Ops
from thinc.types import Floats2d

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_gradients import add_gradient, missing_activation, takes_gradient
from trfcli_pipeline.heads.doc_tensor import doc_tensor
from trfcli_pipeline.heads.token_rows import piece_gradients
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.doc_attributes import HIDDEN
from trfcli_pipeline.tokenization.extensions import doc_alignment

# trf_tok2vec finds the layers that read its token vectors by this name.
TOKEN_VECTORS = "trf_token_vectors"


@registry.architectures("trfcli.TokenVectors.v1")
def token_vectors() -> Model[list[Doc], list[Floats2d]]:
    """Create the `tok2vec` layer of spaCy's own components: it returns the rows of `doc.tensor`.

    Its gradient goes back to the encoder. trf_tok2vec sets the width, `nO`; see
    `listeners.ListenedTo.find_listeners`.

    Returns:
        A layer with one array per Doc as output. *Shape of each:* (tokens, width)
    """
    return Model(TOKEN_VECTORS, forward, init=init, dims={"nO": None}, attrs={"is_trained": False})


def forward(
    model: Model, docs: Sequence[Doc], is_train: bool
) -> tuple[list[Floats2d], Callable[[list[Floats2d]], list[Doc]]]:
    if is_train:
        model.attrs["is_trained"] = True
    width = model.get_dim("nO")
    rows = _read(model.ops, docs, width, required=model.attrs["is_trained"])
    found = next((each.shape[1] for each in rows if each.shape[1] != width), width)
    if found != width:
        raise PipelineError(
            f"doc.tensor has {found} columns, but this component was trained with {width}",
            hint="Retrain the component with this encoder",
        )

    def backprop(d_rows: list[Floats2d]) -> list[Doc]:
        _add_gradients(model.ops, docs, d_rows)
        return list(docs)

    return rows, backprop


def init(model: Model, X: Any = None, Y: Any = None) -> None:
    if model.has_dim("nO") is None:
        raise PipelineError(
            "The width of the token vectors is unknown",
            hint="A component with trfcli.TokenVectors.v1 needs trf_tok2vec, with its weights "
            "loaded, before it in the pipeline",
        )


def _read(ops: Ops, docs: Sequence[Doc], width: int, *, required: bool) -> list[Floats2d]:
    """Return `doc.tensor` of each Doc; zeros where it is missing and not required.

    `nlp.initialize` infers shapes from Docs that no component has processed yet.
    """
    if required and any(len(doc) and not doc.tensor.size for doc in docs):
        raise missing_activation("token vectors (doc.tensor)")
    return [doc_tensor(doc) if doc.tensor.size else ops.alloc2f(len(doc), width) for doc in docs]


def _add_gradients(ops: Ops, docs: Sequence[Doc], d_rows: Sequence[Floats2d]) -> None:
    taking = [(doc, d) for doc, d in zip(docs, d_rows, strict=True) if takes_gradient(doc, HIDDEN)]
    if not taking:
        return
    alignments = [doc_alignment(doc) for doc, _ in taking]
    batch = Alignment.concatenate(alignments)
    d_tokens = ops.xp.concatenate([d for _, d in taking])
    d_pieces = piece_gradients(ops, batch.shares(), d_tokens, batch.n_pieces)
    start = 0
    for (doc, _), alignment in zip(taking, alignments, strict=True):
        end = start + alignment.n_pieces
        add_gradient(doc, HIDDEN, slice(None), d_pieces[start:end])
        start = end
