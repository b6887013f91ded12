"""trf_wordpiecer: the encoder's wordpieces, aligned with spaCy's tokens."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import srsly
from spacy import util
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.huggingface.sources import locate
from trfcli_pipeline.pipeline.buffering import pipe_buffers
from trfcli_pipeline.tokenization.doc_pieces import DocPieces, encode_docs
from trfcli_pipeline.tokenization.encodings import find_mistakable
from trfcli_pipeline.tokenization.extensions import install_extensions
from trfcli_pipeline.tokenization.segments import Segmentation

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedTokenizerBase

install_extensions()

# Components that set sentence boundaries declare one of these in `assigns`.
_SENTENCE_ATTRIBUTES = {"token.is_sent_start", "doc.sents"}

# Default maximum for encoders without one (XLNet): their memory grows with the square of the
# length, so that a single text without a full stop could use it up.
_DEFAULT_MAX_LENGTH = 2048


class TransformersWordPiecer(Pipe):
    """Pipeline component that assigns the encoder's wordpieces to the Doc.

    It sets `doc._.trf_word_pieces`, `doc._.trf_word_pieces_` and `doc._.trf_alignment`, and leaves
    spaCy's tokens as they are.

    Args:
        vocab: The vocab of the pipeline.
        trf_name: The encoder whose tokenizer `initialize` loads: a hub id, a directory, or a
            packaged encoder.
        name: Name of the component in its pipeline.
        **cfg: `segments`, `long_sentences`, `max_length` and `separator`; see
            `factories.make_wordpiecer`.

    Raises:
        PipelineError: A setting has an invalid value.
    """

    factory = "trf_wordpiecer"

    def __init__(
        self,
        vocab: Vocab,
        trf_name: str = "",
        *,
        name: str = "trf_wordpiecer",
        **cfg: Any,
    ) -> None:
        self.vocab = vocab
        self.name = name
        self.trf_name = trf_name
        self.settings = Segmentation(**cfg)
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._encoder_limit: int | None = None
        self._mistakable: frozenset[int] = frozenset()
        self._nlp: Callable[[], Language | None] = _no_pipeline

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without a tokenizer.

        Args:
            nlp: The pipeline. Its `trf_name`, if it has one, is the default for `trf_name`.
            **cfg: Arguments of the constructor.
        """
        trf_name = cfg.pop("trf_name", "") or getattr(nlp, "trf_name", "")
        self = cls(nlp.vocab, trf_name, **cfg)
        self.attach(nlp)
        return self

    @classmethod
    def from_pretrained(cls, vocab: Vocab, name: str, **cfg: Any) -> Self:
        """Create the component with the tokenizer of a pretrained encoder.

        Args:
            vocab: The vocab of the pipeline.
            name: A hub id, a directory, or a packaged encoder.
            **cfg: Settings, as for the constructor.

        Raises:
            EncoderError: There is no such encoder, or it has no usable tokenizer.
        """
        self = cls(vocab, name, **cfg)
        self.load()
        return self

    @property
    def cfg(self) -> dict[str, Any]:
        """The settings that the component's factory takes."""
        return {"trf_name": self.trf_name, **asdict(self.settings)}

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The transformers tokenizer.

        Raises:
            PipelineError: It isn't loaded yet.
        """
        if self._tokenizer is None:
            raise PipelineError(
                f"{self.name}: the tokenizer isn't loaded yet",
                hint="Call nlp.initialize(), or create the component with from_pretrained",
            )
        return self._tokenizer

    @property
    def max_length(self) -> int | None:
        """Maximum number of wordpieces in a segment, special tokens included; None before loading.

        It is the smaller of the encoder's maximum and the setting `max_length`.
        """
        if self._tokenizer is None:
            return None
        limits = (self._encoder_limit, self.settings.max_length)
        return min((limit for limit in limits if limit is not None), default=_DEFAULT_MAX_LENGTH)

    def load(self) -> None:
        """Load the tokenizer of the encoder `trf_name`.

        Raises:
            EncoderError: There is no such encoder, or it has no usable tokenizer.
        """
        path = locate(self.trf_name, weights=False).path
        tokenizer = pretrained.load_tokenizer(path)
        self._set_tokenizer(tokenizer, pretrained.max_length(path, tokenizer))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
    ) -> None:
        """Load the tokenizer, unless it is loaded already.

        Args:
            get_examples: Not used.
            nlp: The pipeline.
        """
        if nlp is not None:
            self.attach(nlp)
        if self._tokenizer is None:
            self.load()

    def attach(self, nlp: Language) -> None:
        """Set the pipeline whose sentence boundaries `update` uses."""
        self._nlp = weakref.ref(nlp)

    def __call__(self, doc: Doc) -> Doc:
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream of Docs in order; see `buffering.pipe_buffers`."""
        yield from pipe_buffers(self, stream, self._annotate, batch_size)

    def update(self, examples: Iterable[Example], **_: Any) -> None:
        """Set sentences and wordpieces on the predicted Docs, which the encoder's update needs.

        spaCy trains on Docs without annotations unless `annotating_components` says otherwise;
        without sentences, training would see other input than prediction. Docs that already have
        wordpieces keep them, so that a caller can tokenize a text once for all epochs.

        Args:
            examples: The batch.
        """
        docs = [eg.predicted for eg in examples if eg.predicted._.trf_word_pieces is None]
        for pipe in self._sentence_setters():
            docs = [doc if doc.has_annotation("SENT_START") else pipe(doc) for doc in docs]
        self._annotate(docs)

    def predict(self, docs: Sequence[Doc]) -> list[DocPieces]:
        """Find the wordpieces of a batch of Docs and align them, without changing the Docs."""
        if not docs:
            return []
        return encode_docs(
            docs, self.tokenizer, self.settings, limit=self.max_length, mistakable=self._mistakable
        )

    def set_annotations(self, docs: Sequence[Doc], outputs: Sequence[DocPieces]) -> None:
        """Assign what `predict` returned."""
        for doc, pieces in zip(docs, outputs, strict=True):
            doc._.trf_word_pieces = pieces.ids
            doc._.trf_word_pieces_ = pieces.strings
            doc._.trf_token_type_ids = pieces.type_ids
            doc._.trf_alignment_links = pieces.links
            doc._.trf_segments = pieces.segments
            doc._.trf_unseen_tokens = pieces.unseen

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Save settings and tokenizer to a directory."""
        writers = {
            "cfg": lambda p: srsly.write_json(p, self._saved_cfg()),
            "tokenizer": lambda p: pretrained.save(self.tokenizer.save_pretrained, p),
        }
        util.to_disk(path, writers, exclude)

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_disk` saved."""
        path = Path(path)
        cfg = srsly.read_json(path / "cfg")
        self._restore(cfg, pretrained.load_tokenizer(path / "tokenizer"))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize settings and tokenizer."""
        files = pretrained.to_files(self.tokenizer.save_pretrained)
        return srsly.msgpack_dumps({"cfg": self._saved_cfg(), "tokenizer": files})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_bytes` returned."""
        data = srsly.msgpack_loads(bytes_data)
        with pretrained.from_files(data["tokenizer"]) as path:
            self._restore(data["cfg"], pretrained.load_tokenizer(path))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # A weak reference can't be pickled, and another process has no use for it. spaCy's Pipe is
        # a Cython class, so pickle would ignore __getstate__.
        state = {**self.__dict__, "_nlp": _no_pipeline}
        return _from_state, (type(self), self.vocab, self.name, state)

    def _annotate(self, docs: Sequence[Doc]) -> None:
        self.set_annotations(docs, self.predict(docs))

    def _sentence_setters(self) -> list[Callable[[Doc], Doc]]:
        """Return the components before this one that set sentence boundaries."""
        nlp = self._nlp()
        if nlp is None or self.name not in nlp.pipe_names:
            return []
        before = nlp.pipeline[: nlp.pipe_names.index(self.name)]
        return [
            pipe
            for name, pipe in before
            if not _SENTENCE_ATTRIBUTES.isdisjoint(nlp.get_pipe_meta(name).assigns)
        ]

    def _saved_cfg(self) -> dict[str, Any]:
        return {**self.cfg, "encoder_limit": self._encoder_limit}

    def _restore(self, cfg: dict[str, Any], tokenizer: "PreTrainedTokenizerBase") -> None:
        # The other settings come from the pipeline's config, where users may have edited them.
        self.trf_name = cfg["trf_name"]
        self._set_tokenizer(tokenizer, cfg["encoder_limit"])

    def _set_tokenizer(
        self, tokenizer: "PreTrainedTokenizerBase", encoder_limit: int | None
    ) -> None:
        self._tokenizer = tokenizer
        self._mistakable = find_mistakable(tokenizer)
        self._encoder_limit = encoder_limit
        self._check_max_length()
        pretrained.encode_whole(tokenizer, self.max_length)

    def _check_max_length(self) -> None:
        """Check that each text gets at least one wordpiece beside the special tokens."""
        paired = bool(self.settings.separator)
        least = self.tokenizer.num_special_tokens_to_add(pair=paired) + 1 + paired
        if self.max_length is not None and self.max_length < least:
            raise PipelineError(
                f"{self.name}: max_length = {self.max_length} leaves no room for text",
                hint=f"Use {least} or more: this encoder adds {least - 1 - paired} special tokens",
            )


def _no_pipeline() -> None:
    return None


def _from_state(
    cls: type[TransformersWordPiecer], vocab: Vocab, name: str, state: dict[str, Any]
) -> TransformersWordPiecer:
    self = cls(vocab, name=name)
    self.__dict__.update(state)
    if self._tokenizer is not None:
        # Tokenizers don't pickle all of their settings.
        pretrained.encode_whole(self._tokenizer, self.max_length)
    return self
