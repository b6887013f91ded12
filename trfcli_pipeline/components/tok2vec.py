"""trf_tok2vec: the encoder. Its activations go to the Doc, and gradients come back from there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import srsly
from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span, Token
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer, set_dropout_rate

from trfcli_pipeline import pretrained
from trfcli_pipeline.activations import Activations, Floats
from trfcli_pipeline.alignment import Alignment
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.extensions import doc_alignment, install_extensions
from trfcli_pipeline.layers import token_rows
from trfcli_pipeline.wrapper import Backprop, TransformersWrapper, WordPieces

if TYPE_CHECKING:
    from transformers import PreTrainedModel

install_extensions()

DEFAULT_SETTINGS: dict[str, Any] = {
    "words_per_batch": 2000,
    "device": "auto",
    "all_hidden_states": False,
    "all_attentions": False,
}

# Which gradient attribute belongs to which of the Activations' fields.
_GRADIENTS = {
    "last_hidden_state": "trf_d_last_hidden_state",
    "pooler_output": "trf_d_pooler_output",
    "all_hidden_states": "trf_d_all_hidden_states",
    "all_attentions": "trf_d_all_attentions",
}


@dataclass(slots=True)
class _PendingUpdate:
    """An update whose heads may still have gradients to add.

    Attributes:
        zeros: The gradients that the Docs were given at first.
        backprop: Runs the encoder's backward pass.
        optimizer: What to take the step with once the gradients are there, if anything.
    """

    docs: list[Doc]
    zeros: list[Activations]
    backprop: Backprop
    optimizer: Optimizer | None = None

    def has_gradients(self) -> bool:
        """Whether a head has replaced a gradient, or written to one in place."""
        return any(
            _differs(doc._.get(attribute), getattr(zeros, field))
            for doc, zeros in zip(self.docs, self.zeros, strict=True)
            for field, attribute in _GRADIENTS.items()
        )

    def take_gradients(self) -> Activations:
        """Collect the Docs' gradients, and clear them."""
        parts = []
        for doc, zeros in zip(self.docs, self.zeros, strict=True):
            kinds = {field: doc._.get(attribute) for field, attribute in _GRADIENTS.items()}
            parts.append(Activations(**kinds, lengths=zeros.lengths, is_grad=True))
        self.clear()
        return Activations.join(parts)

    def clear(self) -> None:
        for doc in self.docs:
            for attribute in _GRADIENTS.values():
                doc._.set(attribute, None)


def _differs(now: Any, zeros: Any) -> bool:
    if now is not zeros:
        return True
    if now is None:
        return False
    arrays = now if isinstance(now, list) else [now]
    return any(bool(array.any()) for array in arrays)


class TransformersTok2Vec(TrainablePipe):
    """Pipeline component that runs the encoder and assigns its activations to the Doc.

    `doc.tensor` gets one row a token, the sum of the rows of its wordpieces, each divided among
    the tokens that share it (`alignment.Alignment.shares`); the vector and similarity hooks of
    Doc, Span and Token use these rows.

    An update has two halves. `update` runs the encoder forward and puts arrays of zeros on the
    Docs for the heads to add their gradients to. `finish_update` runs it backward once and takes
    one optimizer step. Where it is called before any head had its turn, as
    `spacy.Language.update` does, the step waits for the gradients until the next update,
    prediction or saving.

    Args:
        vocab: The vocab of the pipeline.
        model: The encoder, or True for one without weights yet.
        trf_name: The encoder that `initialize` loads: a hub id, a directory, or a packaged one.
        name: Name of the component in its pipeline.
        **cfg: `words_per_batch`, `device`, `all_hidden_states` and `all_attentions`, as of
            `wrapper.TransformersWrapper`.
    """

    factory = "trf_tok2vec"

    def __init__(
        self,
        vocab: Vocab,
        model: TransformersWrapper | bool = True,
        *,
        trf_name: str = "",
        name: str = "trf_tok2vec",
        **cfg: Any,
    ) -> None:
        self.vocab = vocab
        self.name = name
        self.trf_name = trf_name
        self.settings = {**DEFAULT_SETTINGS, **cfg}
        self.model = model if isinstance(model, TransformersWrapper) else self._make_model()
        self._pending: _PendingUpdate | None = None

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without weights yet."""
        trf_name = cfg.pop("trf_name", "") or getattr(nlp, "trf_name", "")
        return cls(nlp.vocab, trf_name=trf_name, **cfg)

    @classmethod
    def from_pretrained(cls, vocab: Vocab, name: str, **cfg: Any) -> Self:
        """Create the component with pretrained weights.

        Raises:
            EncoderError: There is no such encoder, or it can't be loaded.
        """
        self = cls(vocab, trf_name=name, **cfg)
        self.load()
        return self

    @classmethod
    def Model(cls, name: str, **cfg: Any) -> TransformersWrapper:  # noqa: N802 - spaCy 2's name
        """Create the model with the weights of a pretrained encoder."""
        wrapper = TransformersWrapper(**{**DEFAULT_SETTINGS, **cfg})
        wrapper.load(pretrained.locate(name).path)
        return wrapper

    @property
    def cfg(self) -> dict[str, Any]:
        """The settings that the component's factory takes."""
        return {"trf_name": self.trf_name, **self.settings}

    @property
    def transformers_model(self) -> "PreTrainedModel":
        """The torch module. Raises PipelineError if no weights were loaded yet."""
        return self.model.module

    @property
    def token_vector_width(self) -> int:
        """Width of the encoder, and so of `doc.tensor`."""
        return self.transformers_model.config.hidden_size

    def load(self) -> None:
        """Load the weights that `trf_name` says."""
        self.model.load(pretrained.locate(self.trf_name).path)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
    ) -> None:
        """Load the pretrained weights, if there are none yet."""
        if not self.model.is_loaded:
            self.load()

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process Docs as a stream, in order; `batch_size` of them are encoded together."""
        yield from super().pipe(stream, batch_size=batch_size)

    def predict(self, docs: Sequence[Doc]) -> Activations:
        """Encode a batch of Docs, without changing them."""
        self.complete_update()
        return self.model.predict(_word_pieces(docs))

    def set_annotations(self, docs: Sequence[Doc], outputs: Activations) -> None:
        """Assign activations, token rows and hooks to the Docs that they are for."""
        alignments = [_alignment_of(doc) for doc in docs]
        whole = Alignment.concatenate(alignments)
        rows: Any = token_rows(self.model.ops, whole.shares(), outputs.last_hidden_state)
        parts = outputs.split([len(each.segments) for each in alignments])
        start = 0
        for doc, part in zip(docs, parts, strict=True):
            doc.tensor = rows[start : start + len(doc)]
            start += len(doc)
            doc._.trf_last_hidden_state = part.last_hidden_state
            doc._.trf_pooler_output = part.pooler_output
            doc._.trf_all_hidden_states = part.all_hidden_states
            doc._.trf_all_attentions = part.all_attentions
            _set_hooks(doc)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Encode the predicted Docs for training, ready for the heads' gradients."""
        examples = list(examples)
        validate_examples(examples, "TransformersTok2Vec.update")
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        self.complete_update()
        docs = [eg.predicted for eg in examples]
        if not docs:
            return losses
        set_dropout_rate(self.model, drop)
        # Thinc's types have it that a backward pass returns the gradient of the input.
        activations, backprop = cast(
            tuple[Activations, Backprop], self.model.begin_update(_word_pieces(docs))
        )
        self.set_annotations(docs, activations)
        zeros = _zeros_like(activations).split([len(doc._.trf_segments) for doc in docs])
        for doc, part in zip(docs, zeros, strict=True):
            for field, attribute in _GRADIENTS.items():
                doc._.set(attribute, getattr(part, field))
        self._pending = _PendingUpdate(docs, zeros, backprop)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Run the backward pass and take a step, or put both off until heads gave gradients."""
        if self._pending is not None and not self._pending.has_gradients():
            self._pending.optimizer = sgd
            return
        self._backward()
        self.model.finish_update(sgd)

    def complete_update(self) -> None:
        """Complete the last update, if it still waits for its backward pass or its step."""
        if self._pending is None:
            return
        if not self._pending.has_gradients():
            self._pending.clear()
            self._pending = None
            return
        optimizer = self._pending.optimizer
        self._backward()
        if optimizer is not None:
            self.model.finish_update(optimizer)

    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """The encoder's weights aren't among the parameters that Thinc averages."""
        self.complete_update()
        yield

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        self.complete_update()
        util.to_disk(path, {"cfg": self._write_cfg, "model": self.model.to_disk}, exclude)

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> Self:
        path = Path(path)
        self._restore(srsly.read_json(path / "cfg"))
        self.model.from_disk(path / "model")
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        self.complete_update()
        return srsly.msgpack_dumps({"cfg": self.cfg, "model": self.model.to_bytes()})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        data = srsly.msgpack_loads(bytes_data)
        self._restore(data["cfg"])
        self.model.from_bytes(data["model"])
        return self

    def __reduce__(self) -> Any:
        # What waits for its gradients can't be pickled.
        self.complete_update()
        return super().__reduce__()

    def _make_model(self) -> TransformersWrapper:
        return TransformersWrapper(**self.settings)

    def _backward(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.backprop(pending.take_gradients())

    def _write_cfg(self, path: Path) -> None:
        srsly.write_json(path, self.cfg)

    def _restore(self, cfg: dict[str, Any]) -> None:
        # The other settings come from the pipeline's config, where people may have edited them.
        self.trf_name = cfg["trf_name"]
        self._pending = None


@Language.factory(
    "trf_tok2vec",
    default_config={"trf_name": "", **DEFAULT_SETTINGS},
    assigns=["doc.tensor", "doc._.trf_last_hidden_state", "doc._.trf_pooler_output"],
    requires=["doc._.trf_word_pieces"],
)
def make_tok2vec(
    nlp: Language,
    name: str,
    trf_name: str,
    words_per_batch: int,
    device: str,
    all_hidden_states: bool,
    all_attentions: bool,
) -> TransformersTok2Vec:
    return TransformersTok2Vec.from_nlp(
        nlp,
        name=name,
        trf_name=trf_name,
        words_per_batch=words_per_batch,
        device=device,
        all_hidden_states=all_hidden_states,
        all_attentions=all_attentions,
    )


def _alignment_of(doc: Doc) -> Alignment:
    alignment = doc_alignment(doc)
    if alignment is None:
        raise PipelineError(
            "A Doc has no wordpieces",
            hint="Add trf_wordpiecer to the pipeline, ahead of trf_tok2vec",
        )
    return alignment


def _word_pieces(docs: Sequence[Doc]) -> WordPieces:
    lengths = [_alignment_of(doc).segments[:, 2] for doc in docs]
    type_ids = None
    if any(doc._.trf_token_type_ids is not None for doc in docs):
        type_ids = _concatenate(
            [doc._.trf_token_type_ids or [0] * len(doc._.trf_word_pieces) for doc in docs]
        )
    return WordPieces(
        ids=_concatenate([doc._.trf_word_pieces for doc in docs]),
        lengths=np.concatenate([np.empty(0, np.int32), *lengths]),
        type_ids=type_ids,
    )


def _concatenate(lists: Iterable[list[int]]) -> Any:
    return np.array([each for one in lists for each in one], dtype=np.int64)


def _zeros_like(activations: Activations) -> Activations:
    return Activations(
        last_hidden_state=_zeros(activations.last_hidden_state),
        pooler_output=_zeros(activations.pooler_output),
        all_hidden_states=_zeros(activations.all_hidden_states),
        all_attentions=_zeros(activations.all_attentions),
        lengths=activations.lengths,
        is_grad=True,
    )


def _zeros(values: Any) -> Any:
    if values is None:
        return None
    if isinstance(values, list):
        return [_zeros(each) for each in values]
    # numpy dispatches to CuPy where the array is CuPy's.
    return np.zeros_like(values)


def _set_hooks(doc: Doc) -> None:
    doc.user_hooks["vector"] = _sum_of_rows
    doc.user_hooks["vector_norm"] = _norm
    doc.user_hooks["has_vector"] = _has_vector
    doc.user_hooks["similarity"] = _similarity
    # No "vector_norm": where it is set, Span.vector_norm calls "vector" instead (spaCy 3.8).
    doc.user_span_hooks["vector"] = _sum_of_rows
    doc.user_span_hooks["has_vector"] = _has_vector
    doc.user_span_hooks["similarity"] = _similarity
    doc.user_token_hooks["vector"] = _row
    doc.user_token_hooks["vector_norm"] = _norm
    doc.user_token_hooks["has_vector"] = _has_vector
    doc.user_token_hooks["similarity"] = _similarity


def _row(token: Token) -> Floats:
    return token.doc.tensor[token.i]


def _sum_of_rows(part: Doc | Span) -> Floats:
    rows: Any = part.doc.tensor[part.start : part.end] if isinstance(part, Span) else part.tensor
    return rows.sum(axis=0)


def _norm(part: Doc | Span | Token) -> float:
    vector: Floats = part.vector
    return float((vector**2).sum() ** 0.5)


def _has_vector(part: Doc | Span | Token) -> bool:
    return bool(part.vector.any())


def _similarity(one: Doc | Span | Token, other: Any) -> float:
    """Cosine; 0.0 where a vector is zero, as that of a truncated token."""
    norms = _norm(one) * _norm(other)
    return float(one.vector @ other.vector) / norms if norms else 0.0
