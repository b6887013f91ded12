"""trf_wordpiecer: the encoder's wordpieces, aligned with spaCy's tokens."""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.huggingface import pretrained
from trfcli_pipeline.huggingface.sources import locate
from trfcli_pipeline.pipeline.buffering import pipe_buffers
from trfcli_pipeline.pipeline.components import find_pipeline
from trfcli_pipeline.pipeline.saved_parts import Part, SavedInParts, json_part, pretrained_part
from trfcli_pipeline.pipeline.sentences import (
    sentence_setters,
    set_sentences,
    warn_without_sentences,
)
from trfcli_pipeline.tokenization.doc_attributes import (
    FINGERPRINT,
    LINKS,
    PIECE_SPANS,
    SEGMENTS,
    STRINGS,
    TOKEN_SPANS,
    TYPE_IDS,
    UNSEEN,
    WORD_PIECES,
    discard,
    store,
    stored,
)
from trfcli_pipeline.tokenization.doc_pieces import DocPieces, PieceStrings, encode_docs
from trfcli_pipeline.tokenization.encodings import find_mistakable
from trfcli_pipeline.tokenization.extensions import install_extensions
from trfcli_pipeline.tokenization.segments import Segmentation, lay_out

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedTokenizerBase

install_extensions()

# Default maximum for encoders without one (XLNet): their memory grows with the square of the
# length, so that a single text without a full stop could use it up.
_DEFAULT_MAX_LENGTH = 2048


class TransformersWordPiecer(SavedInParts, Pipe):
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

    Attributes:
        vocab_size: Number of wordpieces of the model that the tokenizer is from; None if unknown.
        aligns: Whether to set the wordpieces' strings and their alignment with tokens.

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
        self.vocab_size: int | None = None
        self.aligns = True
        self._mistakable: frozenset[int] = frozenset()
        self._nlp: Callable[[], Language | None] = _no_pipeline
        self._tokenizer_hash = ""
        self._has_warned = False

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
    def is_loaded(self) -> bool:
        return self._tokenizer is not None

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
        self._encoder_limit = pretrained.max_length(path, tokenizer)
        self.vocab_size = pretrained.vocab_size(path)
        self._set_tokenizer(tokenizer)

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

    @property
    def fingerprint(self) -> str:
        """Tells whether wordpieces are from the same tokenizer with the same settings."""
        if not self._tokenizer_hash:
            self._tokenizer_hash = pretrained.fingerprint(self.tokenizer)
        settings = {**asdict(self.settings), "max_length": self.max_length}
        return hashlib.sha256(f"{self._tokenizer_hash} {settings}".encode()).hexdigest()

    def attach(self, nlp: Language) -> None:
        """Set the pipeline whose sentence boundaries `update` uses, if none calls it."""
        self._nlp = weakref.ref(nlp)

    def __call__(self, doc: Doc) -> Doc:
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream of Docs in order; see `buffering.pipe_buffers`."""
        yield from pipe_buffers(self, stream, self._start, batch_size)

    def update(self, examples: Iterable[Example], **_: Any) -> None:
        """Set sentences and wordpieces on the predicted Docs, which the encoder's update needs.

        spaCy trains on Docs without annotations unless `annotating_components` says otherwise;
        without sentences, training would see other input than prediction. Docs that already have
        the same wordpieces keep them, so that a caller can tokenize a text once for all epochs.

        Args:
            examples: The batch.
        """
        docs = [eg.predicted for eg in examples]
        nlp = find_pipeline(self, self._nlp())
        if nlp is not None:
            set_sentences(docs, sentence_setters(nlp, self))
        else:
            self._has_warned = self._has_warned or warn_without_sentences(docs, self.settings)
        fingerprint = self.fingerprint
        self._annotate([doc for doc in docs if not self._has_annotated(doc, fingerprint)])

    def predict(self, docs: Sequence[Doc]) -> list[DocPieces]:
        """Find the wordpieces of a batch of Docs and align them, without changing the Docs."""
        if not docs:
            return []
        return encode_docs(
            docs,
            self.tokenizer,
            self.settings,
            self._strings if self.aligns else None,
            limit=self.max_length,
            mistakable=self._mistakable,
        )

    def set_annotations(self, docs: Sequence[Doc], outputs: Sequence[DocPieces]) -> None:
        """Assign what `predict` returned."""
        fingerprint = self.fingerprint if docs else ""
        for doc, pieces in zip(docs, outputs, strict=True):
            store(doc, WORD_PIECES, pieces.ids)
            store(doc, TYPE_IDS, pieces.type_ids)
            store(doc, SEGMENTS, pieces.segments)
            if pieces.links is not None:
                store(doc, STRINGS, pieces.strings)
                store(doc, LINKS, pieces.links)
                store(doc, UNSEEN, pieces.unseen)
                store(doc, TOKEN_SPANS, pieces.token_spans)
                store(doc, PIECE_SPANS, pieces.piece_spans)
                store(doc, FINGERPRINT, f"{fingerprint} {pieces.checksum}")
            elif stored(doc, LINKS) is not None:
                # Those of earlier wordpieces.
                for name in (STRINGS, LINKS, UNSEEN, TOKEN_SPANS, PIECE_SPANS, FINGERPRINT):
                    discard(doc, name)

    def parts(self) -> dict[str, Part]:
        """The settings and the tokenizer."""
        return {
            "cfg": json_part(self._saved_cfg, self._restore),
            "tokenizer": pretrained_part(self._save_tokenizer, self._load_tokenizer),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # A weak reference can't be pickled, and another process has no use for it. spaCy's Pipe is
        # a Cython class, so pickle would ignore __getstate__.
        state = {**self.__dict__, "_nlp": _no_pipeline}
        return _from_state, (type(self), self.vocab, self.name, state)

    def _start(self, docs: Sequence[Doc]) -> Callable[[], None]:
        return partial(self._annotate, docs)

    def _annotate(self, docs: Sequence[Doc]) -> None:
        self.set_annotations(docs, self.predict(docs))

    def _has_annotated(self, doc: Doc, fingerprint: str) -> bool:
        """Check whether `predict` would return the wordpieces that a Doc has already."""
        checksum = lay_out([doc], self.settings)[0].checksum
        return bool(stored(doc, FINGERPRINT) == f"{fingerprint} {checksum}")

    def _save_tokenizer(self, path: Path) -> None:
        self.tokenizer.save_pretrained(path)

    def _load_tokenizer(self, path: Path) -> None:
        self._set_tokenizer(pretrained.load_tokenizer(path))

    def _saved_cfg(self) -> dict[str, Any]:
        limits = {"encoder_limit": self._encoder_limit, "vocab_size": self.vocab_size}
        return {**self.cfg, **limits}

    def _restore(self, cfg: dict[str, Any]) -> None:
        # The other settings come from the pipeline's config, where users may have edited them.
        self.trf_name = cfg["trf_name"]
        self._encoder_limit = cfg["encoder_limit"]
        # Earlier versions didn't save it.
        self.vocab_size = cfg.get("vocab_size")

    def _set_tokenizer(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._tokenizer_hash = ""
        self._strings = PieceStrings(tokenizer)
        self._mistakable = find_mistakable(tokenizer)
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
