"""Runs a pipeline's text classifier on labelled texts, and scores what it says."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from spacy.language import Language

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.scores import Evaluation, check_arguments, read_gold, score_cats

__all__ = ["Classifier", "evaluate", "find_classifier"]

TEXT_CLASSIFIERS = ("trf_textcat", "textcat", "textcat_multilabel")


class Classifier(NamedTuple):
    """A pipeline's text classifier.

    Attributes:
        name: Name of the component.
        labels: Its labels, in its order.
        exclusive: Whether exactly one of them holds for a text.
    """

    name: str
    labels: tuple[str, ...]
    exclusive: bool


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
    return Classifier(name, labels, exclusive or nlp.get_pipe_meta(name).factory == "textcat")


def evaluate(
    nlp: Language,
    texts: Sequence[str],
    gold: Sequence[Mapping[str, float]],
    *,
    component: str | None = None,
    threshold: float = 0.5,
    batch_size: int = 128,
) -> Evaluation:
    """Run a pipeline on texts, time it, and score its text classifier.

    Speed is in words per second: spaCy tokens that aren't whitespace, divided by the wall-clock
    time of `nlp.pipe` with all its components, tokenisation included.

    Args:
        nlp: The pipeline.
        texts: The texts.
        gold: For each text its labels with 1.0 or 0.0, as `Doc.cats`; see `score_cats`.
        component: Name of the pipe to score; the first text classifier that has labels by default.
        threshold: Score from which a label counts as predicted, unless classes are exclusive.
        batch_size: Texts in a batch of `nlp.pipe`.

    Raises:
        PipelineError: The pipeline has no such component, or no text classifier with labels, or
            it gave a text no scores.
        DataError: There is nothing to score, or a gold record can't be used. The texts are only
            run if all records are good.
        ValueError: `texts` and `gold` differ in length, or `threshold` isn't from 0 to 1.
    """
    _, labels, exclusive = find_classifier(nlp, component)
    check_arguments(len(texts), len(gold), threshold)
    # before the pipeline runs, which may take minutes
    read_gold(gold, labels, exclusive=exclusive)
    predicted: list[dict[str, float]] = []
    n_words = 0
    start = time.perf_counter()
    for doc in nlp.pipe(texts, batch_size=batch_size):
        predicted.append(dict(doc.cats))
        n_words += len(doc) - int(doc.to_array("IS_SPACE").sum())
    seconds = time.perf_counter() - start
    if len(predicted) != len(texts):
        raise PipelineError(f"The pipeline returned {len(predicted)} of {len(texts)} texts")
    evaluation = score_cats(gold, predicted, labels, exclusive=exclusive, threshold=threshold)
    return replace(evaluation, n_words=n_words, seconds=seconds)
