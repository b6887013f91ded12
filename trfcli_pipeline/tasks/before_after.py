"""Compare a pipeline with its optimized copy: speed, size, score, and similarity of the vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language

from trfcli_pipeline.data.dataset import DataSource, as_dataset
from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.reading import Reading, read_records
from trfcli_pipeline.data.records import BadRecord, Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation.classifier import (
    TEXT_CLASSIFIERS,
    Classifier,
    find_classifier,
    gold_cats,
)
from trfcli_pipeline.evaluation.results import score_cats
from trfcli_pipeline.evaluation.run import PredictionOutput
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.speed import predict_in_turns

_MAX_TEXTS = 2000


@dataclass(frozen=True, slots=True)
class Metrics:
    """Speed in words per second, size in bytes, and score of a pipeline.

    Words are tokens that aren't whitespace. The score is None where texts have no labels.
    """

    speed: float
    size: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """Metrics of a pipeline before and after it was optimized.

    Attributes:
        cosine: Mean cosine similarity between `doc.tensor` rows before and after.
        metric: "accuracy"; "macro F" for a multi-label classifier; "cosine" without labels.
        loss: How much `metric` dropped, in points (hundredths).
    """

    before: Metrics
    after: Metrics
    cosine: float
    metric: str
    loss: float

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {"figure" if name == "metric" else name: value for name, value in found.items()}

    @property
    def speedup(self) -> float:
        """How many times as fast it has become."""
        return self.after.speed / self.before.speed


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts to compare on, out of `total`; with gold labels if the classifier knows them all.

    Attributes:
        unknown_labels: Labels of the texts that the classifier doesn't know.
    """

    texts: Sequence[str]
    total: int
    gold: Sequence[Mapping[str, float]] = ()
    classifier: Classifier | None = None
    unknown_labels: Sequence[str] = ()

    def score(self, cats: Sequence[Mapping[str, float]]) -> float | None:
        if self.classifier is None:
            return None
        exclusive = self.classifier.exclusive
        found = score_cats(
            self.gold,
            cats,
            self.classifier.labels,
            exclusive=exclusive,
            threshold=self.classifier.threshold,
        )
        return found.accuracy if exclusive else found.macro_f

    @property
    def metric(self) -> str:
        if self.classifier is None:
            return "cosine"
        return "accuracy" if self.classifier.exclusive else "macro F"


def choose_sample(
    nlp: Language, path: DataSource, records: Sequence[Record], dev: DataSource | None = None
) -> Sample:
    """Choose texts to compare on: from the dev set if there is one, else from another file.

    Args:
        nlp: The pipeline whose classifier is scored, if it has one.
        path: The other file. Its labels are used if the classifier knows them all.
        records: Its records, read without labels.
        dev: A file of labeled texts.

    Raises:
        DataError: dev can't be read or has labels that the classifier doesn't know.
        PipelineError: dev is given, but the pipeline has no text classifier.
    """
    if dev is not None:
        return _labeled_sample(find_classifier(nlp), dev, read_records(dev, labeled=True))
    unknown: set[str] = set()
    if (labeled := _read_labels(nlp, path)) is not None:
        classifier = find_classifier(nlp)
        unknown.update(*(record.labels.difference(classifier.labels) for record in labeled))
        if not unknown:
            return _labeled_sample(classifier, path, labeled)
    texts = evenly([record.text for record in records], _MAX_TEXTS)
    return Sample(texts, len(records), unknown_labels=sorted(unknown))


def compare_pipelines(before: Language, after: Language, sample: Sample) -> Compared:
    """Load two pipelines from their directories, and run them on the sample in turns."""
    predictions: tuple[list[PredictionOutput], list[PredictionOutput]] = ([], [])
    cosines = []
    with phase("Comparing both pipelines", total=len(sample.texts), unit="texts") as comparing:
        for (old, old_docs), (new, new_docs) in predict_in_turns((before, after), sample.texts):
            predictions[0].append(old)
            predictions[1].append(new)
            pairs = zip(old_docs, new_docs, strict=True)
            cosines += [row_cosines(one.tensor, other.tensor) for one, other in pairs]
            comparing.done += len(old_docs)
    cosine = float(np.concatenate(cosines).mean())
    was, now = (
        _metrics(nlp, own, sample) for nlp, own in zip((before, after), predictions, strict=True)
    )
    loss = 1 - cosine if was.score is None or now.score is None else was.score - now.score
    return Compared(was, now, cosine=cosine, metric=sample.metric, loss=100 * loss)


def row_cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the cosine similarity of each pair of rows. *Shape:* (tokens,)

    Tokens past the encoder's maximum have zero rows. The similarity of two zero rows is 1.

    Args:
        a, b: The token vectors of both pipelines. *Shape of each:* (tokens, width)
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    products, norms = (x * y).sum(axis=1), np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(norms > 0, products / np.where(norms > 0, norms, 1), (x == y).all(axis=1))


def evenly(items: Sequence[Any], limit: int) -> list[Any]:
    """Choose at most `limit` items, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), limit)).astype(int)
    return [items[index] for index in chosen]


def _labeled_sample(classifier: Classifier, path: DataSource, records: Sequence[Record]) -> Sample:
    gold = gold_cats(records, classifier, name=str(as_dataset(path)))
    texts = [record.text for record in records]
    return Sample(evenly(texts, _MAX_TEXTS), len(texts), evenly(gold, _MAX_TEXTS), classifier)


def _read_labels(nlp: Language, path: DataSource) -> list[Record] | None:
    """Read the records again, with their labels.

    Returns None unless every record has labels and the pipeline has a classifier.
    """
    factories = {nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    if as_dataset(path).is_stdin or not factories & {*TEXT_CLASSIFIERS}:
        return None
    try:
        found = list(Reading(path, labeled=True).everything())
    except DataError:
        # No column has labels.
        return None
    bad = [record for record in found if isinstance(record, BadRecord)]
    if any(record.lacks is not None for record in bad):
        return None
    # Labels that are wrong are an error, which this raises.
    if bad:
        return read_records(path, labeled=True)
    return [record for record in found if isinstance(record, Record)]


def _metrics(nlp: Language, predictions: Sequence[PredictionOutput], sample: Sample) -> Metrics:
    words = sum(each.n_words for each in predictions)
    seconds = sum(each.seconds for each in predictions)
    cats = [cats for each in predictions for cats in each.cats]
    return Metrics(words / seconds, directory_bytes(nlp.path), sample.score(cats))
