"""trf_wordpiecer: the encoder's wordpieces on the Doc, aligned with its tokens."""

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import srsly
from numpy.typing import NDArray
from spacy import util
from spacy.attrs import IDX, LENGTH, SENT_START
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from trfcli_pipeline import pretrained
from trfcli_pipeline.alignment import Ints, link_spans
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.extensions import install_extensions

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

install_extensions()

# Halves of a character that stand alone: no text to a tokenizer. U+FFFD keeps the offsets.
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")

# What components declare to assign if they set sentence boundaries.
_SENTENCES = {"token.is_sent_start", "doc.sents"}


@dataclass(frozen=True, slots=True)
class DocPieces:
    """What `TransformersWordPiecer.predict` finds out about a Doc; see design of `._.trf_*`.

    Attributes:
        ids, strings, type_ids: Of each wordpiece; type_ids None where all are 0.
        links, segments: See `alignment.Alignment`.
    """

    ids: list[int]
    strings: list[str]
    type_ids: list[int] | None
    links: Ints
    segments: Ints


class TransformersWordPiecer(Pipe):
    """Pipeline component that assigns the encoder's wordpieces to the Doc.

    It leaves spaCy's tokens as they are and sets `doc._.trf_word_pieces`,
    `doc._.trf_word_pieces_`, `doc._.trf_alignment` and what these are made from.

    Args:
        vocab: The vocab of the pipeline.
        trf_name: The encoder whose tokenizer `initialize` loads: a hub id, a directory, or a
            packaged encoder.
        name: Name of the component in its pipeline.
    """

    factory = "trf_wordpiecer"

    def __init__(self, vocab: Vocab, trf_name: str = "", *, name: str = "trf_wordpiecer") -> None:
        self.vocab = vocab
        self.name = name
        self.trf_name = trf_name
        self._tokenizer: PreTrainedTokenizerFast | None = None
        self._max_length: int | None = None
        self._nlp: Callable[[], Language | None] = _no_pipeline

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without a tokenizer yet."""
        trf_name = cfg.pop("trf_name", "") or getattr(nlp, "trf_name", "")
        self = cls(nlp.vocab, trf_name, **cfg)
        self.attach(nlp)
        return self

    @classmethod
    def from_pretrained(cls, vocab: Vocab, name: str, **cfg: Any) -> Self:
        """Create the component with the tokenizer of a pretrained encoder.

        Raises:
            EncoderError: There is no such encoder, or it has no usable tokenizer.
        """
        self = cls(vocab, name, **cfg)
        self.load()
        return self

    @property
    def cfg(self) -> dict[str, Any]:
        """The settings that the component's factory takes."""
        return {"trf_name": self.trf_name}

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The transformers tokenizer.

        Raises:
            PipelineError: None was loaded yet.
        """
        if self._tokenizer is None:
            raise PipelineError(
                f"{self.name}: the tokenizer isn't loaded yet",
                hint="Call nlp.initialize(), or build the component with from_pretrained",
            )
        return self._tokenizer

    @property
    def max_length(self) -> int | None:
        """The most wordpieces of a sentence, special tokens included; None for no limit."""
        return self._max_length

    def load(self) -> None:
        """Load the tokenizer that `trf_name` says."""
        path = pretrained.locate(self.trf_name).path
        tokenizer = pretrained.load_tokenizer(path)
        self._set_tokenizer(tokenizer, pretrained.max_length(path, tokenizer))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
    ) -> None:
        """Load the tokenizer, if there is none yet."""
        if nlp is not None:
            self.attach(nlp)
        if self._tokenizer is None:
            self.load()

    def attach(self, nlp: Language) -> None:
        """Say which pipeline the component is in; `update` asks it for sentence boundaries."""
        self._nlp = weakref.ref(nlp)

    def __call__(self, doc: Doc) -> Doc:
        self.set_annotations([doc], self.predict([doc]))
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process Docs as a stream, in order."""
        for docs in util.minibatch(stream, size=batch_size):
            try:
                self.set_annotations(docs, self.predict(docs))
            except Exception as error:
                self.get_error_handler()(self.name, self, docs, error)
            else:
                yield from docs

    def update(self, examples: Iterable[Example], **_: Any) -> None:
        """Give the predicted Docs the sentences and wordpieces that the encoder's update needs.

        Nothing is learnt. spaCy trains on Docs without annotations, unless it is told which
        components should set some; without sentences, training would see other input than
        prediction. Docs that have wordpieces keep them, so that texts which come again in every
        epoch can be tokenized once.
        """
        docs = [eg.predicted for eg in examples if eg.predicted._.trf_word_pieces is None]
        for pipe in self._sentence_setters():
            docs = [doc if doc.has_annotation("SENT_START") else pipe(doc) for doc in docs]
        self.set_annotations(docs, self.predict(docs))

    def predict(self, docs: Sequence[Doc]) -> list[DocPieces]:
        """Find the wordpieces of a batch of Docs and align them, sentence by sentence."""
        layouts = [_layout(doc) for doc in docs]
        texts = [text for layout in layouts for text in layout.texts]
        encodings = self.tokenizer.backend_tokenizer.encode_batch(texts)
        lengths = np.fromiter(map(len, encodings), np.int32, len(encodings))
        links, ends = _align(layouts, encodings, lengths, self._max_length)
        return _split(layouts, encodings, lengths, links, ends)

    def set_annotations(self, docs: Sequence[Doc], outputs: Sequence[DocPieces]) -> None:
        """Assign what `predict` returned."""
        for doc, pieces in zip(docs, outputs, strict=True):
            doc._.trf_word_pieces = pieces.ids
            doc._.trf_word_pieces_ = pieces.strings
            doc._.trf_token_type_ids = pieces.type_ids
            doc._.trf_alignment_links = pieces.links
            doc._.trf_segments = pieces.segments

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        util.to_disk(
            path,
            {
                "cfg": self._write_cfg,
                "tokenizer": self._write_tokenizer,
            },
            exclude,
        )

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> Self:
        path = Path(path)
        cfg = srsly.read_json(path / "cfg")
        self._restore(cfg, pretrained.load_tokenizer(path / "tokenizer"))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        files = pretrained.to_files(self.tokenizer.save_pretrained)
        return srsly.msgpack_dumps({"cfg": self._saved_cfg(), "tokenizer": files})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        data = srsly.msgpack_loads(bytes_data)
        with pretrained.from_files(data["tokenizer"]) as path:
            self._restore(data["cfg"], pretrained.load_tokenizer(path))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # A weak reference can't be pickled, and the pipeline's other process has no use for it.
        # (spaCy's Pipe is a Cython class, so pickle would pass over __getstate__.)
        state = {**self.__dict__, "_nlp": _no_pipeline}
        return _from_state, (type(self), self.vocab, self.name, state)

    def _sentence_setters(self) -> list[Callable[[Doc], Doc]]:
        """The components ahead of this one that set sentence boundaries."""
        nlp = self._nlp()
        if nlp is None or self.name not in nlp.pipe_names:
            return []
        ahead = nlp.pipeline[: nlp.pipe_names.index(self.name)]
        return [pipe for name, pipe in ahead if _SENTENCES & set(nlp.get_pipe_meta(name).assigns)]

    def _saved_cfg(self) -> dict[str, Any]:
        return {**self.cfg, "max_length": self._max_length}

    def _write_cfg(self, path: Path) -> None:
        srsly.write_json(path, self._saved_cfg())

    def _write_tokenizer(self, path: Path) -> None:
        pretrained.save(self.tokenizer.save_pretrained, path)

    def _restore(self, cfg: dict[str, Any], tokenizer: "PreTrainedTokenizerFast") -> None:
        self.trf_name = cfg["trf_name"]
        self._set_tokenizer(tokenizer, cfg["max_length"])

    def _set_tokenizer(self, tokenizer: "PreTrainedTokenizerFast", max_length: int | None) -> None:
        pretrained.encode_whole(tokenizer, max_length)
        self._tokenizer = tokenizer
        self._max_length = max_length


@Language.factory(
    "trf_wordpiecer",
    default_config={"trf_name": ""},
    assigns=["doc._.trf_word_pieces", "doc._.trf_word_pieces_", "doc._.trf_alignment"],
    requires=["token.is_sent_start"],
)
def make_wordpiecer(nlp: Language, name: str, trf_name: str) -> TransformersWordPiecer:
    return TransformersWordPiecer.from_nlp(nlp, name=name, trf_name=trf_name)


def _no_pipeline() -> None:
    return None


def _from_state(
    cls: type[TransformersWordPiecer], vocab: Vocab, name: str, state: dict[str, Any]
) -> TransformersWordPiecer:
    self = cls(vocab, name=name)
    self.__dict__.update(state)
    if self._tokenizer is not None:
        # Tokenizers don't pickle all of their settings.
        pretrained.encode_whole(self._tokenizer, self._max_length)
    return self


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the sentences and tokens of a Doc are.

    Attributes:
        texts: The sentences.
        firsts: First token of each sentence.
        n_tokens: Tokens in the Doc.
        token_spans: Start and end character of each token, from its sentence's start.
        sentence_of_token: Index of each token's sentence.
    """

    texts: list[str]
    firsts: NDArray[np.int64]
    n_tokens: int
    token_spans: NDArray[np.int64]
    sentence_of_token: NDArray[np.int64]


def _layout(doc: Doc) -> _Layout:
    attrs = doc.to_array([IDX, LENGTH, SENT_START]).astype(np.int64).reshape(-1, 3)
    starts_sentence = attrs[:, 2] == 1
    starts_sentence[:1] = True
    firsts = np.flatnonzero(starts_sentence)
    starts = attrs[:, 0]
    ends = starts + attrs[:, 1]
    sentence_of_token = np.cumsum(starts_sentence) - 1
    sentence_starts = starts[firsts]
    sentence_ends = ends[np.append(firsts[1:], len(doc)) - 1] if len(doc) else firsts
    text = _LONE_SURROGATES.sub("\ufffd", doc.text)
    return _Layout(
        texts=[
            text[start:end]
            for start, end in zip(sentence_starts.tolist(), sentence_ends.tolist(), strict=True)
        ],
        firsts=firsts,
        n_tokens=len(doc),
        token_spans=np.stack([starts, ends], axis=1)
        - sentence_starts[sentence_of_token].reshape(-1, 1),
        sentence_of_token=sentence_of_token,
    )


def _align(
    layouts: Sequence[_Layout],
    encodings: Sequence["Encoding"],
    lengths: NDArray[np.int32],
    max_length: int | None,
) -> tuple[Ints, NDArray[np.int64]]:
    """Link the tokens and wordpieces of all sentences at once.

    The sentences are laid out one behind the other on a common line of characters, with a gap
    between them so that spans of two sentences never touch.

    Returns:
        The links, indices counted over the whole batch, and the end token of each sentence: the
        first that was truncated, or that of the next sentence.
    """
    sizes = np.array([len(text) for layout in layouts for text in layout.texts], dtype=np.int64)
    line_starts = np.cumsum(sizes + 1) - (sizes + 1)
    n_sentences = [len(layout.texts) for layout in layouts]
    n_tokens = [layout.n_tokens for layout in layouts]
    sentences_before = np.cumsum([0, *n_sentences])[:-1]
    tokens_before = np.cumsum([0, *n_tokens])[:-1]
    sentence_of_token = np.concatenate(
        [np.empty(0, np.int64), *(layout.sentence_of_token for layout in layouts)]
    ) + np.repeat(sentences_before, n_tokens)
    token_spans = np.concatenate(
        [np.empty((0, 2), np.int64), *(layout.token_spans for layout in layouts)]
    )
    piece_spans = np.array(
        [span for encoding in encodings for span in encoding.offsets], dtype=np.int64
    ).reshape(-1, 2)
    links = link_spans(
        token_spans + line_starts[sentence_of_token].reshape(-1, 1),
        piece_spans + np.repeat(line_starts, lengths).reshape(-1, 1),
    )
    firsts = np.concatenate(
        [np.empty(0, np.int64), *(layout.firsts for layout in layouts)]
    ) + np.repeat(tokens_before, n_sentences)
    ends = np.append(firsts[1:], len(token_spans))[: len(firsts)]
    for sentence in np.flatnonzero(lengths == (max_length or 0)).tolist():
        if encodings[sentence].overflowing:
            cut = max(end for _, end in encodings[sentence].offsets)
            starts = token_spans[firsts[sentence] : ends[sentence], 0]
            # The first token counts as seen in any case: the special tokens have to go somewhere.
            ends[sentence] = firsts[sentence] + np.searchsorted(starts, max(cut, 1))
    return links, ends


def _split(
    layouts: Sequence[_Layout],
    encodings: Sequence["Encoding"],
    lengths: NDArray[np.int32],
    links: Ints,
    ends: NDArray[np.int64],
) -> list[DocPieces]:
    """Give each Doc its part of the batch, with indices counted from its own start."""
    outputs = []
    sentence = token = piece = link = 0
    for layout in layouts:
        sentences = slice(sentence, sentence + len(layout.texts))
        own = encodings[sentences]
        n_pieces = int(lengths[sentences].sum())
        last_link = int(np.searchsorted(links[:, 0], token + layout.n_tokens))
        type_ids = [type_id for encoding in own for type_id in encoding.type_ids]
        outputs.append(
            DocPieces(
                ids=[id_ for encoding in own for id_ in encoding.ids],
                strings=[string for encoding in own for string in encoding.tokens],
                type_ids=type_ids if any(type_ids) else None,
                links=(links[link:last_link] - (token, piece)).astype(np.int32),
                segments=np.stack(
                    [layout.firsts, ends[sentences] - token, lengths[sentences]], axis=1
                ).astype(np.int32),
            )
        )
        sentence, token = sentences.stop, token + layout.n_tokens
        piece, link = piece + n_pieces, last_link
    return outputs
