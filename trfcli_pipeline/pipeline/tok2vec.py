"""trf_tok2vec: the encoder, which writes its activations to the Doc and trains with the heads."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Optimizer, set_dropout_rate

from trfcli_pipeline.encoder.activations import KINDS, TENSOR, Activations, kinds_to_keep
from trfcli_pipeline.encoder.model import TransformersWrapper
from trfcli_pipeline.encoder.out_of_memory import explained_out_of_memory
from trfcli_pipeline.encoder.padding import WordPieces
from trfcli_pipeline.huggingface.sources import locate
from trfcli_pipeline.pipeline.buffering import pipe_buffers
from trfcli_pipeline.pipeline.component_hooks import ENCODER, remember_component
from trfcli_pipeline.pipeline.components import find_pipeline, no_rehearsal
from trfcli_pipeline.pipeline.doc_outputs import assign_outputs, clear_outputs
from trfcli_pipeline.pipeline.doc_rows import (
    TokenRows,
    compute_token_rows,
    start_download,
    word_pieces,
)
from trfcli_pipeline.pipeline.listeners import ListenedTo
from trfcli_pipeline.pipeline.pending_update import PendingUpdate
from trfcli_pipeline.pipeline.saved_parts import Part, SavedInParts, json_part
from trfcli_pipeline.pipeline.tokenizer_checks import check_tokenizers
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.extensions import doc_alignment, install_extensions

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

install_extensions()

_MODEL_SETTINGS: dict[str, Any] = {
    "words_per_batch": None,
    "device": "auto",
    "all_hidden_states": False,
    "all_attentions": False,
    "precision": "auto",
}
DEFAULT_SETTINGS: dict[str, Any] = {**_MODEL_SETTINGS, "keep": "all"}


class TransformersTok2Vec(ListenedTo, SavedInParts, TrainablePipe):
    """Pipeline component that runs the encoder and assigns its activations to the Doc.

    `doc.tensor` gets one row per token, the sum of the rows of its wordpieces; a wordpiece of
    several tokens is divided among them (see `alignment.Alignment.shares`). The vectors and
    similarities of Doc, Span and Token use these rows.

    `update` runs the encoder forward and sets arrays of zeros on the Docs, to which the heads add
    their gradients. `finish_update` runs one backward pass and takes one optimizer step. If it is
    called before the heads, as by `spacy.Language.update`, it postpones both until the next
    update, prediction or saving.

    Args:
        vocab: The vocab of the pipeline.
        model: The encoder; True to create one without weights.
        trf_name: The encoder that `initialize` loads: a hub id, a directory, or a packaged
            encoder.
        name: Name of the component in its pipeline.
        **cfg: `words_per_batch`, `device`, `all_hidden_states`, `all_attentions`, `precision` and
            `keep`; see `factories.make_tok2vec`.

    Raises:
        PipelineError: A setting has an invalid value.
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
        super().__init__()
        self.vocab = vocab
        self.name = name
        self.trf_name = trf_name
        self.settings = {**DEFAULT_SETTINGS, **cfg}
        self.kept = kinds_to_keep(self.settings["keep"])
        if not isinstance(model, TransformersWrapper):
            model = TransformersWrapper(**{key: self.settings[key] for key in _MODEL_SETTINGS})
        self.model = model
        self._pending: PendingUpdate | None = None

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without weights.

        Args:
            nlp: The pipeline. Its `trf_name`, if it has one, is the default for `trf_name`.
            **cfg: Arguments of the constructor.
        """
        trf_name = cfg.pop("trf_name", "") or getattr(nlp, "trf_name", "")
        return cls(nlp.vocab, trf_name=trf_name, **cfg)

    @classmethod
    def from_pretrained(cls, vocab: Vocab, name: str, **cfg: Any) -> Self:
        """Create the component with the weights of a pretrained encoder.

        Args:
            vocab: The vocab of the pipeline.
            name: A hub id, a directory, or a packaged encoder.
            **cfg: Settings, as for the constructor.

        Raises:
            EncoderError: There is no such encoder, or it can't be loaded.
        """
        self = cls(vocab, trf_name=name, **cfg)
        self.load()
        return self

    @classmethod
    def Model(cls, name: str, **cfg: Any) -> TransformersWrapper:  # noqa: N802 - its name since spaCy 2
        """Create the model with the weights of a pretrained encoder.

        Args:
            name: A hub id, a directory, or a packaged encoder.
            **cfg: Settings, as for the constructor, except `keep`.
        """
        wrapper = TransformersWrapper(**{**_MODEL_SETTINGS, **cfg})
        wrapper.from_disk(locate(name).path)
        return wrapper

    @property
    def cfg(self) -> dict[str, Any]:
        """The settings that the component's factory takes."""
        return {"trf_name": self.trf_name, **self.settings}

    @property
    def transformers_model(self) -> "PreTrainedModel":
        """The torch module.

        Raises:
            PipelineError: It isn't loaded yet.
        """
        return self.model.shim.module

    def load(self) -> None:
        """Load the weights of the encoder `trf_name`.

        Raises:
            EncoderError: There is no such encoder, or it can't be loaded.
        """
        self._load(self.model.from_disk, locate(self.trf_name).path)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
    ) -> None:
        """Load the pretrained weights, unless there are weights already.

        Args:
            get_examples: Not used.
            nlp: The pipeline.

        Raises:
            PipelineError: The pipeline's tokenizer is that of another encoder.
        """
        if not self.model.shim.is_loaded:
            self.load()
        check_tokenizers(nlp, self.transformers_model.config)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream of Docs in order; see `buffering.pipe_buffers`.

        Args:
            stream: The Docs, with wordpieces.
            batch_size: Number of Docs that fail together. With `words_per_batch = 0`, also the
                number of Docs that are encoded together.
        """
        if self.model.attrs["words_per_batch"] == 0:
            yield from super().pipe(stream, batch_size=batch_size)
        else:
            on_gpu = self.model.shim.device.type != "cpu"
            yield from pipe_buffers(self, stream, self._start, batch_size, ahead=on_gpu)

    def predict(self, docs: Sequence[Doc]) -> Activations:
        """Encode a batch of Docs without changing them."""
        X = self._input(docs)
        with explained_out_of_memory(self.model.shim.device):
            return self.model.predict(X)

    def set_annotations(self, docs: Sequence[Doc], outputs: Activations) -> None:
        """Assign what `predict` returned, as far as it is kept, and set the vector hooks."""
        rows: Iterable[TokenRows] = ()
        if (alignments := _alignments(docs, self.kept)) is not None:
            rows = compute_token_rows(self.model.ops, alignments, outputs.last_hidden_state)
        self._assign(docs, rows, outputs.only(self.kept))

    def _start(self, docs: Sequence[Doc]) -> Callable[[], None]:
        """Start to encode Docs. Returns a function that waits for the result and assigns it."""
        X, alignments = self._input(docs), _alignments(docs, self.kept)
        with explained_out_of_memory(self.model.shim.device):
            outputs = self.model.encode(X)
            wait = start_download(self.model.ops, alignments, outputs, self.kept)
        return lambda: self._assign(docs, *wait())

    def _assign(
        self,
        docs: Sequence[Doc],
        rows: Iterable[TokenRows],
        outputs: Activations,
    ) -> None:
        assign_outputs(self.name, self.model.ops, docs, rows, outputs)
        remember_component(docs, ENCODER, self)

    def _input(self, docs: Sequence[Doc]) -> WordPieces:
        if self._pending is not None and self._pending.has_gradients():
            self.complete_update()
        vocab_size = getattr(self.transformers_model.config, "vocab_size", None)
        return word_pieces(docs, vocab_size)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
        kinds: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Encode the predicted Docs for training, and prepare them for the heads' gradients.

        Args:
            examples: The batch; its predicted Docs have wordpieces.
            drop: Dropout rate, which replaces that of the encoder's own dropout layers.
            sgd: The optimizer; None to take the step in a later call of `finish_update`.
            losses: Gets 0.0 under the component's name, because the encoder has no loss.
            kinds: What the heads read, as `architectures.kinds_read` returns it; None to put all
                outputs on the Docs. If given, the caller must call `release` once the heads have
                run.

        Returns:
            The losses.
        """
        examples = list(examples)
        validate_examples(examples, "TransformersTok2Vec.update")
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        self.complete_update()
        if not examples:
            return losses
        docs = [eg.predicted for eg in examples]
        set_dropout_rate(self.model, drop)
        ops, read = self.model.ops, {*KINDS, TENSOR} if kinds is None else set(kinds)
        X, alignments = self._input(docs), _alignments(docs, read)
        with explained_out_of_memory(self.model.shim.device):
            outputs, backprop = self.model.begin_encoding(X)
            wait = start_download(ops, alignments, outputs, read, short_lived=kinds is not None)
            rows, activations = wait()
        self._assign(docs, rows, activations)
        if TENSOR in read:
            # Heads that read `doc.tensor` write the gradient of the last hidden state.
            read.add("last_hidden_state")
        self._pending = PendingUpdate.begin(docs, outputs.only(read), ops, backprop)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def release(self, docs: Iterable[Doc]) -> None:
        """Remove the encoder's output from Docs whose heads have read it."""
        clear_outputs(self.model.ops, docs)

    def rehearse(
        self, examples: Iterable[Example], *, losses: dict[str, float] | None = None, **_: Any
    ) -> dict[str, float]:
        """Do nothing, or raise a PipelineError if components of spaCy read the token vectors."""
        if self.listeners:
            raise no_rehearsal(self.listening_components[0])
        return {} if losses is None else losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Run the backward pass and take a step; postpone both if there are no gradients yet."""
        if self._pending is not None and not self._pending.has_gradients():
            self._pending.optimizer = sgd
            return
        self._backward()
        self.model.finish_update(sgd)

    def complete_update(self) -> None:
        """Complete the last update if it is still waiting for its backward pass or its step."""
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
        """Temporarily replace the weights by the averages of the optimizer."""
        self.complete_update()
        with self.model.use_params(params):
            yield

    def parts(self) -> dict[str, Part]:
        """The settings and the weights."""
        self.complete_update()
        model = self.model
        return {
            "cfg": json_part(lambda: self.cfg, self._restore),
            "model": Part(
                to_disk=model.to_disk,
                from_disk=partial(self._load, model.from_disk),
                to_bytes=model.to_bytes,
                from_bytes=partial(self._load, model.from_bytes),
            ),
        }

    def __reduce__(self) -> Any:
        # A pending update can't be pickled.
        self.complete_update()
        return super().__reduce__()

    def _backward(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with explained_out_of_memory(self.model.shim.device):
                pending.backprop(pending.take_gradients())

    def _load(self, load: Callable[[Any], Any], source: Path | bytes) -> None:
        load(source)
        self.set_listener_widths()
        check_tokenizers(find_pipeline(self, None), self.transformers_model.config)

    def _restore(self, cfg: dict[str, Any]) -> None:
        # The other settings come from the pipeline's config, where users may have edited them.
        self.trf_name = cfg["trf_name"]


def _alignments(docs: Sequence[Doc], kinds: Collection[str]) -> list[Alignment] | None:
    """The alignment of each Doc, as far as token rows are wanted."""
    return [doc_alignment(doc) for doc in docs] if TENSOR in kinds else None
