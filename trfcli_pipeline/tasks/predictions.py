"""Predict a batch of texts, and return the predictions as JSON values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span, Token

from trfcli_pipeline.data.records import location
from trfcli_pipeline.encoder.devices import trim_heap
from trfcli_pipeline.errors import PipelineError, one_line
from trfcli_pipeline.evaluation.classifier import (
    find_classifiers,
    is_unsure,
    label_set,
    predicted_labels_of_all,
)
from trfcli_pipeline.evaluation.run import check_scores, count_words
from trfcli_pipeline.pipeline.running import bounded_vocab
from trfcli_pipeline.tasks.prediction_values import TOKEN_ATTRIBUTES, shortest
from trfcli_pipeline.tokenization.doc_attributes import NOVELTY, stored

# Parts of a batch that fails, to find out which of its texts does.
_PARTS = 16
# Texts that heads predict at once.
_HEAD_BATCH = 256
# As components declare what they assign.
_PREDICTIONS = {"doc.cats", "doc.ents", "doc.spans", *(f"token.{n}" for n in TOKEN_ATTRIBUTES)}


class Batch(NamedTuple):
    """Texts, and where they are from.

    Attributes:
        file: Name of the file of the first one; "" if the texts aren't from a file.
        unit: What a place in it is called.
        lines: The place of each text in it, or its number among the texts.
        texts: The texts.
    """

    file: str
    unit: str
    lines: list[int]
    texts: list[str]


class Predicted(NamedTuple):
    """The predictions for a batch.

    Attributes:
        words: Number of tokens that aren't whitespace.
        labels: Number of texts that each label is predicted for.
        content: One row per text, or the bytes of a DocBin with all Docs. Failed texts are left
            out.
        failed: Why texts failed, by their index in the batch.
    """

    words: int
    labels: Counter[str]
    content: list[dict[str, Any]] | bytes
    failed: Mapping[int, str] = {}


class Predictor:
    """Run a pipeline on batches of texts.

    A row has these keys, if the pipeline predicts them:

    - `cats`: the score of each label, in float32 precision.
    - `labels`: the predicted labels, by descending score; see `evaluation.classifier`.
    - `unsure`: whether the text should not be answered, `label_set`: the labels that can't be ruled
      out, and `novelty`: how unlike the labeled texts it is; as far as these were fitted.
    - `ents`: a list of `{"start", "end", "label", "text"}`, with `kb_id` for linked entities.
      `start` and `end` are character offsets.
    - `spans`: the same lists by the keys of `doc.spans`.
    - `tokens`: a list of `{"start", "end"}` with `tag`, `pos`, `morph`, `lemma`, and `dep` with
      `head`, the index of the head in the list.

    Args:
        nlp: The pipeline.
        as_docs: Return a DocBin instead of rows.
        skip: Leave out texts that fail, instead of raising an error.
        threshold: Decision threshold of multi-label classifiers, by default each one's own.

    Raises:
        PipelineError: No component of the pipeline predicts anything.
    """

    def __init__(
        self,
        nlp: Language,
        *,
        as_docs: bool = False,
        skip: bool = False,
        threshold: float | None = None,
    ) -> None:
        self.nlp = nlp
        self.as_docs = as_docs
        self.skip = skip
        metas = [nlp.get_pipe_meta(name) for name in nlp.pipe_names]
        self._assigned = {attribute for meta in metas for attribute in meta.assigns}
        # A component that declares no assignments may predict anything.
        if not self._assigned & _PREDICTIONS and all(meta.assigns for meta in metas):
            raise PipelineError(
                f"The pipeline predicts nothing to write ({', '.join(nlp.pipe_names)})",
                hint="Train a text classifier: trf train-textcat MODEL TRAIN",
            )
        self.classifiers = find_classifiers(nlp)
        if threshold is not None:
            self.classifiers = [each.with_threshold(threshold) for each in self.classifiers]

    @property
    def labels(self) -> list[str]:
        """The labels of all text classifiers."""
        return [label for each in self.classifiers for label in each.labels]

    @property
    def exclusive(self) -> bool:
        """Whether exactly one label is predicted for every text."""
        return len(self.classifiers) == 1 and self.classifiers[0].exclusive

    def __call__(self, batch: Batch) -> Predicted:
        """Predict the texts of a batch.

        If they fail together, ever smaller parts are predicted, to find out which of them fail.

        Raises:
            PipelineError: The pipeline failed, and `skip` isn't set. The message names the place of
                the text.
        """
        try:
            with bounded_vocab(self.nlp):
                return self._predict(batch.texts)
        except Exception as error:
            failed = self._find_failures(batch.texts)
            if failed and self.skip:
                kept = [text for i, text in enumerate(batch.texts) if i not in failed]
                with bounded_vocab(self.nlp):
                    reasons = {i: _reason(each) for i, each in failed.items()}
                    return self._predict(kept)._replace(failed=reasons)
            place = location(batch.file, batch.unit, batch.lines[0], batch.lines[-1])
            cause = error
            if failed:
                index, cause = next(iter(failed.items()))
                line = batch.lines[index]
                place = location(batch.file, batch.unit, line, line)
            hint = getattr(cause, "hint", None)
            raise PipelineError(f"{place}: {_reason(cause)}", hint=hint) from cause
        finally:
            trim_heap()

    def _find_failures(self, texts: Sequence[str], first: int = 0) -> dict[int, Exception]:
        """Predict ever smaller parts, to find the texts that fail; only the first unless skipping.

        Args:
            texts: Texts that failed together.
            first: Index of the first one in the batch.
        """
        failed: dict[int, Exception] = {}
        size = max(len(texts) // _PARTS, 1)
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            try:
                with bounded_vocab(self.nlp):
                    self._predict(part)
            except Exception as error:
                index = first + start
                failed |= {index: error} if len(part) == 1 else self._find_failures(part, index)
                if failed and not self.skip:
                    break
        return failed

    def _predict(self, texts: Sequence[str]) -> Predicted:
        words = 0
        cats: list[Mapping[str, float]] = []
        rows: list[dict[str, Any]] = []
        docs = DocBin()
        # On an accelerator, the next Docs are encoded while these are read. In larger batches,
        # heads would wait for all of them.
        for doc in self.nlp.pipe(texts, batch_size=min(max(len(texts), 1), _HEAD_BATCH)):
            check_scores(doc)
            words += count_words(doc)
            cats.append(doc.cats)
            if self.as_docs:
                docs.add(doc)
            else:
                rows.append(self._row(doc))
        if len(cats) != len(texts):
            raise PipelineError(f"the pipeline returned {len(cats)} of {len(texts)} texts")
        labels = predicted_labels_of_all(cats, self.classifiers)
        counts = Counter(chain.from_iterable(labels))
        if self.as_docs:
            return Predicted(words, counts, docs.to_bytes())
        for row, own in zip(rows, labels, strict=True):
            if "labels" in row:
                row["labels"] = own
        return Predicted(words, counts, rows)

    def _row(self, doc: Doc) -> dict[str, Any]:
        """The row of a Doc, whose labels are decided later: for many texts at once."""
        row: dict[str, Any] = {}
        if doc.cats or "doc.cats" in self._assigned:
            row["cats"] = {label: shortest(score) for label, score in doc.cats.items()}
            row["labels"] = []
            fitted: dict[str, Any] = {
                "unsure": is_unsure(doc.cats, self.classifiers),
                "label_set": label_set(doc.cats, self.classifiers),
                "novelty": stored(doc, NOVELTY),
            }
            if fitted["novelty"] is not None:
                fitted["novelty"] = shortest(fitted["novelty"])
            row |= {key: value for key, value in fitted.items() if value is not None}
        if doc.ents or "doc.ents" in self._assigned:
            row["ents"] = [_span(ent) for ent in doc.ents]
        if doc.spans or "doc.spans" in self._assigned:
            row["spans"] = {
                key: [_span(span) for span in group] for key, group in doc.spans.items()
            }
        names = [
            name
            for name in TOKEN_ATTRIBUTES
            # has_annotation is true for an empty Doc.
            if f"token.{name}" in self._assigned or (len(doc) and doc.has_annotation(name.upper()))
        ]
        if names:
            row["tokens"] = [_token(token, names) for token in doc]
        return row


def _reason(error: Exception) -> str:
    return getattr(error, "message", None) or one_line(error)


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
