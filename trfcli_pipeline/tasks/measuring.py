"""What a pipeline gains and loses against the one that it was made of."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc

from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.formats import STDIN
from trfcli_pipeline.data.formats.rows import LABEL_KEYS
from trfcli_pipeline.data.records import Record, read_records
from trfcli_pipeline.evaluation.classifier import (
    TEXT_CLASSIFIERS,
    Classifier,
    find_classifier,
    gold_cats,
)
from trfcli_pipeline.evaluation.evaluate import count_words
from trfcli_pipeline.evaluation.results import score_cats

# What is measured on.
_TEXTS = 2000
# Texts that the two pipelines take in turn, so that both meet the same conditions.
_TURN = 128


@dataclass(slots=True)
class Figures:
    """What a pipeline does: its speed, in words a second, its size in bytes, its score.

    Words are tokens that aren't whitespace. The score is None where there are no labels.
    """

    speed: float
    size: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What two pipelines did on the same texts.

    Attributes:
        cosine: Mean over the tokens: between the rows of `doc.tensor` before and after.
        loss: What was lost of `figure`, in points: hundredths.
        figure: "accuracy", "macro F" of labels that don't exclude each other, or "cosine".
    """

    before: Figures
    after: Figures
    cosine: float
    figure: str
    loss: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to measure on, of how many there are; with labels if the classifier knows them."""

    texts: Sequence[str]
    of: int
    gold: Sequence[Mapping[str, float]] = ()
    classifier: Classifier | None = None

    def score(self, cats: Sequence[Mapping[str, float]]) -> float | None:
        if self.classifier is None:
            return None
        _, labels, exclusive, threshold = self.classifier
        found = score_cats(self.gold, cats, labels, exclusive=exclusive, threshold=threshold)
        return found.accuracy if exclusive else found.macro_f

    @property
    def figure(self) -> str:
        if self.classifier is None:
            return "cosine"
        return "accuracy" if self.classifier.exclusive else "macro F"


def choose_sample(
    nlp: Language, path: str, records: Sequence[Record], dev: str | None = None
) -> Sample:
    """Texts to measure on: those of dev, else those of another file, with labels if they fit.

    Args:
        records: Those of the file at `path`, read without labels.

    Raises:
        DataError, PipelineError: dev has labels that the classifier doesn't know, or there is none.
    """
    if dev is not None:
        return _labelled_sample(find_classifier(nlp), dev, read_records(dev, labelled=True))
    if (labelled := _read_labels(nlp, path, records)) is not None:
        return _labelled_sample(find_classifier(nlp), path, labelled)
    return Sample(evenly([record.text for record in records], _TEXTS), len(records))


def _labelled_sample(classifier: Classifier, path: str, records: Sequence[Record]) -> Sample:
    gold = gold_cats(records, classifier, name=path)
    texts = [record.text for record in records]
    return Sample(evenly(texts, _TEXTS), len(texts), evenly(gold, _TEXTS), classifier)


def _read_labels(nlp: Language, path: str, records: Sequence[Record]) -> list[Record] | None:
    """The records with their labels, if all have some and the pipeline's classifier knows them."""
    factories = {nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    if path == STDIN or not factories & {*TEXT_CLASSIFIERS}:
        return None
    if not all(record.extra.keys() & {*LABEL_KEYS} for record in records):
        return None
    known = {*find_classifier(nlp).labels}
    labelled = read_records(path, labelled=True)
    return labelled if all(record.labels <= known for record in labelled) else None


def measure(before: Language, after: Language, sample: Sample) -> Measured:
    """Run both pipelines, which were loaded from directories, on the texts in turn."""
    sides = (_Side(before), _Side(after))
    cosines: list[np.ndarray] = []
    for side in sides:
        # What is done at the first call isn't speed.
        list(side.nlp.pipe(sample.texts[:8]))
    for start in range(0, len(sample.texts), _TURN):
        texts = sample.texts[start : start + _TURN]
        old, new = (side.run(texts) for side in sides)
        cosines += [_cosines(a.tensor, b.tensor) for a, b in zip(old, new, strict=True)]
    cosine = float(np.concatenate(cosines).mean())
    was, now = (side.figures(sample) for side in sides)
    loss = 1 - cosine if was.score is None or now.score is None else was.score - now.score
    return Measured(was, now, cosine=cosine, figure=sample.figure, loss=100 * loss)


class _Side:
    """A pipeline, and what it has done so far."""

    def __init__(self, nlp: Language) -> None:
        self.nlp = nlp
        self.words = 0
        self.seconds = 0.0
        self.cats: list[dict[str, float]] = []

    def run(self, texts: Sequence[str]) -> list[Doc]:
        start = time.perf_counter()
        docs = list(self.nlp.pipe(texts))
        self.seconds += time.perf_counter() - start
        self.words += sum(map(count_words, docs))
        self.cats += [dict(doc.cats) for doc in docs]
        return docs

    def figures(self, sample: Sample) -> Figures:
        size = directory_bytes(self.nlp.path)
        return Figures(self.words / self.seconds, size, sample.score(self.cats))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between rows; 1 between rows of zeros, as tokens past the encoder's maximum have.

    *Shapes:* (tokens, width) twice to (tokens,)
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    product, norms = (a * b).sum(axis=1), np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(norms > 0, product / np.where(norms > 0, norms, 1), (a == b).all(axis=1))


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """As many of the items, from all over them."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), most)).astype(int)
    return [items[index] for index in chosen]
