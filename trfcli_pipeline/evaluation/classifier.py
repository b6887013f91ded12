"""Runs a pipeline's text classifier on labelled texts, and scores what it says."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.data.formats import STDIN
from trfcli_pipeline.data.labels import check_known_labels, check_single_labels, complete_cats
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    Threshold,
    check_arguments,
    read_gold,
)
from trfcli_pipeline.evaluation.scores import Evaluation, score_cats

__all__ = [
    "Classifier",
    "Prediction",
    "count_words",
    "evaluate",
    "find_classifier",
    "gold_cats",
    "judge",
    "predict",
]

TEXT_CLASSIFIERS = ("trf_textcat", "textcat", "textcat_multilabel")


class Classifier(NamedTuple):
    """A pipeline's text classifier.

    Attributes:
        name: Name of the component.
        labels: Its labels, in its order.
        exclusive: Whether exactly one of them holds for a text.
        threshold: Its own: from which score on a label holds, of each label if they were tuned.
    """

    name: str
    labels: tuple[str, ...]
    exclusive: bool
    threshold: Threshold = DEFAULT_THRESHOLD


class Prediction(NamedTuple):
    """What a pipeline says about some texts.

    Attributes:
        cats: The scores of each text.
        n_words: spaCy tokens that aren't whitespace.
        seconds: Wall-clock time of `nlp.pipe` with all its components, tokenisation included.
    """

    cats: list[dict[str, float]]
    n_words: int
    seconds: float


def find_classifier(nlp: Language, name: str | None = None) -> Classifier:
    """The component that scores texts; the first text classifier with labels if none is named.

    Raises:
        PipelineError: The pipeline has no such component, or it has no labels.
    """
    if name is None:
        names = [n for n in nlp.pipe_names if nlp.get_pipe_meta(n).factory in TEXT_CLASSIFIERS]
        if not names:
            raise PipelineError(
                f"{nlp.meta['lang']}_{nlp.meta['name']} has no text classifier",
                hint="Train one: trf train-textcat MODEL TRAIN",
            )
        name = next((n for n in names if getattr(nlp.get_pipe(n), "labels", ())), names[0])
    elif name not in nlp.pipe_names:
        pipes = ", ".join(nlp.pipe_names) or "none"
        raise PipelineError(f"The pipeline has no component {name!r}", hint=f"It has: {pipes}")
    pipe = nlp.get_pipe(name)
    labels = tuple(getattr(pipe, "labels", ()))
    if not labels:
        raise PipelineError(
            f"{name} has no labels, so there is nothing to score",
            hint="Train it: trf train-textcat MODEL TRAIN",
        )
    exclusive = getattr(pipe, "exclusive_classes", False) is True
    exclusive = exclusive or nlp.get_pipe_meta(name).factory == "textcat"
    return Classifier(name, labels, exclusive, DEFAULT_THRESHOLD if exclusive else _own(pipe))


def gold_cats(
    records: Sequence[Record], classifier: Classifier, *, name: str
) -> list[dict[str, float]]:
    """The labels of records as `evaluate` takes them.

    Args:
        name: Of the records' file, for messages; "-" is stdin.

    Raises:
        DataError: Some records have labels that the classifier doesn't know, or several though its
            labels are exclusive. The message names the first lines.
    """
    name = "stdin" if name == STDIN else name
    check_known_labels(records, classifier.labels, name=name, known_as="among the model's")
    if classifier.exclusive:
        check_single_labels(records, name=name)
    return [complete_cats(record, classifier.labels, classifier.exclusive) for record in records]


def predict(
    nlp: Language,
    texts: Sequence[str],
    *,
    batch_size: int = 128,
    on_doc: Callable[[Doc], None] | None = None,
) -> Prediction:
    """Run a pipeline on texts, and time it.

    Args:
        on_doc: Called with each Doc, to keep what the prediction doesn't have.

    Raises:
        PipelineError: It didn't return all texts.
    """
    cats: list[dict[str, float]] = []
    n_words = 0
    start = time.perf_counter()
    for doc in nlp.pipe(texts, batch_size=batch_size):
        cats.append(dict(doc.cats))
        n_words += count_words(doc)
        if on_doc is not None:
            on_doc(doc)
    seconds = time.perf_counter() - start
    if len(cats) != len(texts):
        raise PipelineError(f"The pipeline returned {len(cats)} of {len(texts)} texts")
    return Prediction(cats, n_words, seconds)


def count_words(doc: Doc) -> int:
    """The tokens that aren't whitespace."""
    return len(doc) - int(doc.to_array("IS_SPACE").sum())


def evaluate(
    nlp: Language,
    texts: Sequence[str],
    gold: Sequence[Mapping[str, float]],
    *,
    component: str | None = None,
    labels: Sequence[str] | None = None,
    threshold: Threshold | None = None,
    batch_size: int = 128,
) -> Evaluation:
    """Run a pipeline on texts, time it, and score its text classifier.

    Args:
        nlp: The pipeline.
        texts: The texts.
        gold: For each text its labels with 1.0 or 0.0, as `Doc.cats`; see `score_cats`.
        component: Name of the pipe to score; the first text classifier that has labels by default.
        labels: The labels to score, in the order that figures should have; by default all of the
            component's.
        threshold: Score from which a label counts as predicted, unless classes are exclusive; of
            each label, or of all. By default the classifier's own.
        batch_size: Texts in a batch of `nlp.pipe`.

    Raises:
        PipelineError: The pipeline has no such component, or no text classifier with labels, or
            it gave a text no scores.
        DataError: There is nothing to score, or a gold record can't be used. The texts are only
            run if all records are good.
        ValueError: `texts` and `gold` differ in length, or `threshold` isn't from 0 to 1.
    """
    classifier = find_classifier(nlp, component)
    labels = classifier.labels if labels is None else tuple(labels)
    threshold = classifier.threshold if threshold is None else threshold
    check_arguments(len(texts), len(gold), threshold)
    # before the pipeline runs, which may take minutes
    read_gold(gold, labels, exclusive=classifier.exclusive)
    prediction = predict(nlp, texts, batch_size=batch_size)
    return judge(prediction, gold, labels, exclusive=classifier.exclusive, threshold=threshold)


def judge(
    prediction: Prediction,
    gold: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    *,
    exclusive: bool,
    threshold: Threshold,
) -> Evaluation:
    """Score what a pipeline said about some texts; see `score_cats`."""
    evaluation = score_cats(gold, prediction.cats, labels, exclusive=exclusive, threshold=threshold)
    return replace(evaluation, n_words=prediction.n_words, seconds=prediction.seconds)


def _own(pipe: Any) -> Threshold:
    """The threshold of a component: where it has some for single labels, of each label."""
    general = float(getattr(pipe, "cfg", {}).get("threshold", DEFAULT_THRESHOLD))
    tuned = getattr(pipe, "thresholds", None)
    return {label: tuned.get(label, general) for label in pipe.labels} if tuned else general
