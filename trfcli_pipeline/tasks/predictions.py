"""What a pipeline predicts for a batch of texts, as plain values that JSON has a form for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, Token

from trfcli_pipeline.encoder.devices import trim_heap
from trfcli_pipeline.errors import PipelineError, one_line
from trfcli_pipeline.evaluation.classifier import TEXT_CLASSIFIERS, find_classifier
from trfcli_pipeline.evaluation.evaluate import count_words

# A word takes about 400 bytes in a vocab.
_KEPT_WORDS = 50_000

# Attributes of a token that components declare to assign, and how they are called here and there.
_TOKEN_ATTRIBUTES = {
    "token.tag": ("tag", "TAG"),
    "token.pos": ("pos", "POS"),
    "token.morph": ("morph", "MORPH"),
    "token.lemma": ("lemma", "LEMMA"),
    "token.dep": ("dep", "DEP"),
}
_PREDICTIONS = {"doc.cats", "doc.ents", "doc.spans", *_TOKEN_ATTRIBUTES}


class Batch(NamedTuple):
    """Texts, and where they are from, as a message about them begins."""

    place: str
    texts: list[str]


class Predicted(NamedTuple):
    """What was predicted for a batch.

    Attributes:
        words: Tokens that aren't whitespace.
        labels: Texts that each label holds for.
        content: A row for each text, or all Docs as the bytes of a DocBin.
    """

    words: int
    labels: Counter[str]
    content: list[dict[str, Any]] | bytes


class Predictor:
    """Runs a pipeline on batches of texts.

    A row has those of these keys that the pipeline predicts:

    - `cats`: the score of each label, in float32 precision.
    - `labels`: the labels that hold, the best first. Of exclusive labels that is the best one, of
      others each whose score reaches its threshold, which is the component's own.
    - `ents`, and lists of spans by key as `spans`: `{"start", "end", "label", "text"}`, and
      `kb_id` if linked; `start` and `end` count characters of the text.
    - `tokens`: `{"start", "end"}` with `tag`, `pos`, `morph`, `lemma`, and `dep` with `head`, the
      index of a token.

    Args:
        nlp: The pipeline.
        as_docs: Return a DocBin in place of rows.

    Raises:
        PipelineError: None of the pipeline's components predicts anything.
    """

    def __init__(self, nlp: Language, *, as_docs: bool = False) -> None:
        self.nlp = nlp
        self.as_docs = as_docs
        metas = [nlp.get_pipe_meta(name) for name in nlp.pipe_names]
        self._assigned = {attribute for meta in metas for attribute in meta.assigns}
        # A component that declares nothing may do anything.
        if not self._assigned & _PREDICTIONS and all(meta.assigns for meta in metas):
            raise PipelineError(
                f"The pipeline predicts nothing to write ({', '.join(nlp.pipe_names)})",
                hint="Train a text classifier: trf train-textcat MODEL TRAIN",
            )
        self._classifiers = [
            find_classifier(nlp, name)
            for name, meta in zip(nlp.pipe_names, metas, strict=True)
            if meta.factory in TEXT_CLASSIFIERS and getattr(nlp.get_pipe(name), "labels", None)
        ]

    def __call__(self, batch: Batch) -> Predicted:
        """Predict.

        Raises:
            PipelineError: The pipeline failed. The message says for which texts.
        """
        try:
            with self._bounded_vocab():
                return self._predict(batch.texts)
        except Exception as error:
            reason = getattr(error, "message", None) or one_line(error)
            hint = getattr(error, "hint", None)
            raise PipelineError(f"{batch.place}: {reason}", hint=hint) from error
        finally:
            trim_heap()

    def _bounded_vocab(self) -> AbstractContextManager[Any]:
        # The first words are kept, since those that are common are among them, and tokenizing what
        # is known is several times as fast. All words of a long stream would fill the memory.
        return nullcontext() if len(self.nlp.vocab) < _KEPT_WORDS else self.nlp.memory_zone()

    def _predict(self, texts: list[str]) -> Predicted:
        docs = list(self.nlp.pipe(texts, batch_size=len(texts)))
        if len(docs) != len(texts):
            raise PipelineError(f"the pipeline returned {len(docs)} of {len(texts)} texts")
        words = sum(map(count_words, docs))
        holding = [self._labels(doc.cats) for doc in docs]
        labels = Counter(label for each in holding for label in each)
        if self.as_docs:
            return Predicted(words, labels, DocBin(docs=docs).to_bytes())
        rows = [self._row(doc, held) for doc, held in zip(docs, holding, strict=True)]
        return Predicted(words, labels, rows)

    def _row(self, doc: Doc, labels: list[str]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if doc.cats or "doc.cats" in self._assigned:
            row["cats"] = {label: _shortest(score) for label, score in doc.cats.items()}
            row["labels"] = labels
        if doc.ents or "doc.ents" in self._assigned:
            row["ents"] = [_span(ent) for ent in doc.ents]
        if doc.spans or "doc.spans" in self._assigned:
            row["spans"] = {
                key: [_span(span) for span in group] for key, group in doc.spans.items()
            }
        names = [
            name
            for attribute, (name, column) in _TOKEN_ATTRIBUTES.items()
            # An empty Doc counts as annotated.
            if attribute in self._assigned or (len(doc) and doc.has_annotation(column))
        ]
        if names:
            row["tokens"] = [_token(token, names) for token in doc]
        return row

    def _labels(self, cats: Mapping[str, float]) -> list[str]:
        found = [label for each in self._classifiers for label in each.predicted_labels(cats)]
        return sorted(found, key=cats.__getitem__, reverse=True)


def _shortest(score: float) -> float:
    """The shortest number that is the same float32: scores are computed as such."""
    return float(str(np.float32(score)))


def _span(span: Span) -> dict[str, Any]:
    linked = {"kb_id": span.kb_id_} if span.kb_id_ else {}
    return {
        "start": span.start_char,
        "end": span.end_char,
        "label": span.label_,
        "text": span.text,
        **linked,
    }


def _token(token: Token, names: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {"start": token.idx, "end": token.idx + len(token)}
    for name in names:
        values[name] = str(token.morph) if name == "morph" else getattr(token, f"{name}_")
    if "dep" in values:
        values["head"] = token.head.i
    return values
