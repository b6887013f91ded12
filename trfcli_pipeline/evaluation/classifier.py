"""The text classifiers of a pipeline: labels, thresholds, what they predict, and gold labels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from trfcli_pipeline.data.labels import check_known_labels, check_single_labels, complete_cats
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import ArgumentError, PipelineError
from trfcli_pipeline.evaluation.abstention import Abstention
from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    FloatArray,
    Threshold,
    decide,
    threshold_row,
)

if TYPE_CHECKING:
    from spacy.language import Language

TEXT_CLASSIFIERS = ("trf_textcat", "textcat", "textcat_multilabel")


class Classifier(NamedTuple):
    """A pipeline's text classifier.

    Attributes:
        name: Name of the component.
        labels: Its labels, in the component's order.
        exclusive: Whether it predicts exactly one label per text.
        threshold: The component's decision threshold, or one per label if they were tuned.
        abstention: What decides whether it answers; None if nothing was fitted.
    """

    name: str
    labels: Sequence[str]
    exclusive: bool
    threshold: Threshold = DEFAULT_THRESHOLD
    abstention: Abstention | None = None

    @classmethod
    def from_pipe(cls, pipe: Any, name: str, factory: str = "trf_textcat") -> Self:
        """Describe a component.

        Args:
            pipe: The component, of any class.
            name: Its name in the pipeline.
            factory: Name of the factory that made it.
        """
        labels = tuple(getattr(pipe, "labels", None) or ())
        exclusive = getattr(pipe, "exclusive_classes", False) is True or factory == "textcat"
        threshold = DEFAULT_THRESHOLD if exclusive else _threshold(pipe)
        return cls(name, labels, exclusive, threshold, getattr(pipe, "abstention", None))

    @classmethod
    def restore(cls, values: Iterable[Any]) -> Self:
        """Restore a classifier from a plain tuple or list, as a Doc stores it."""
        found = cls(*values)
        if found.abstention is None:
            return found
        return found._replace(abstention=Abstention(*found.abstention))

    def with_threshold(self, threshold: Threshold) -> Self:
        """Decide by other thresholds, for which nothing was promised."""
        if self.exclusive:
            return self
        return self._replace(threshold=threshold, abstention=None)

    @property
    def thresholds(self) -> dict[str, float]:
        """The decision threshold of each label; empty if labels are exclusive."""
        row = threshold_row(self.threshold, self.labels).tolist()
        return {} if self.exclusive else dict(zip(self.labels, row, strict=True))


def check_threshold(threshold: float | None, classifiers: Iterable[Classifier]) -> None:
    """Check that a chosen decision threshold, if there is one, decides anything.

    Raises:
        ArgumentError: All classifiers predict exactly one label per text.
    """
    if threshold is not None and all(each.exclusive for each in classifiers):
        raise ArgumentError(
            "--threshold is for multi-label classifiers, but this one predicts exactly one label "
            "per text",
            hint="Leave out --threshold",
        )


def predicted_labels(cats: Mapping[str, float], classifiers: Iterable[Classifier]) -> list[str]:
    """Return the labels that apply to a text, by descending score.

    Args:
        cats: The text's scores. Labels of no classifier are ignored.
        classifiers: The classifiers that gave the scores.
    """
    (labels,) = predicted_labels_of_all([cats], classifiers)
    return labels


def predicted_labels_of_all(
    predicted: Sequence[Mapping[str, float]], classifiers: Iterable[Classifier]
) -> list[list[str]]:
    """Return what `predicted_labels` returns for each of many texts, which is faster."""
    found: list[dict[str, float]] = [{} for _ in predicted]
    for each in classifiers:
        texts_by_labels: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, cats in enumerate(predicted):
            texts_by_labels[tuple(label for label in each.labels if label in cats)].append(index)
        for known, texts in texts_by_labels.items():
            if not known:
                continue
            scores = np.array([[predicted[index][label] for label in known] for index in texts])
            thresholds = threshold_row(each.threshold, known)
            applies = decide(scores, thresholds, exclusive=each.exclusive)
            for row, column in np.argwhere(applies).tolist():
                index, label = texts[row], known[column]
                found[index][label] = predicted[index][label]
    return [sorted(own, key=own.__getitem__, reverse=True) for own in found]


def is_unsure(cats: Mapping[str, float], classifiers: Iterable[Classifier]) -> bool | None:
    """Say whether a text should not be answered: if any of the classifiers is unsure.

    Args:
        cats: The text's scores.
        classifiers: The classifiers that gave the scores.

    Returns:
        None if none of them has a threshold for that.
    """
    verdicts: list[bool] = []
    for each, scores in _with_scores(cats, classifiers):
        thresholds = threshold_row(each.threshold, each.labels)
        verdict = each.abstention.is_unsure(scores, thresholds, exclusive=each.exclusive)
        verdicts += verdict or []
    return any(verdicts) if verdicts else None


def label_set(cats: Mapping[str, float], classifiers: Iterable[Classifier]) -> list[str] | None:
    """Return the labels that can't be ruled out, by descending score; see `conformal`.

    Args:
        cats: The text's scores.
        classifiers: The classifiers that gave the scores.

    Returns:
        None if no sets were fitted for any of them.
    """
    sets = [
        each.abstention.label_sets(scores, each.labels, exclusive=each.exclusive)[0]
        for each, scores in _with_scores(cats, classifiers)
    ]
    found = [label for each in sets for label in each]
    return sorted(found, key=cats.__getitem__, reverse=True) if sets else None


def _with_scores(
    cats: Mapping[str, float], classifiers: Iterable[Classifier]
) -> Iterator[tuple[Any, FloatArray]]:
    """The classifiers with a fitted abstention that gave all of their scores, and these scores."""
    for each in classifiers:
        if each.abstention is not None and all(label in cats for label in each.labels):
            yield each, np.array([[cats[label] for label in each.labels]])


def find_classifiers(nlp: "Language") -> list[Classifier]:
    """Find all text classifiers of a pipeline that have labels, in its order."""
    factories = {name: nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    found = [
        Classifier.from_pipe(nlp.get_pipe(name), name, factory)
        for name, factory in factories.items()
        if factory in TEXT_CLASSIFIERS
    ]
    return [each for each in found if each.labels]


def find_classifier(
    nlp: "Language", name: str | None = None, *, model: str | None = None
) -> Classifier:
    """Find the text classifier of a pipeline.

    Args:
        name: Name of the component. By default, the first text classifier that has labels.
        model: Directory or name of the pipeline for messages, as the user gave it.

    Raises:
        PipelineError: The pipeline has no text classifier, or it has no labels.
    """
    if name is None:
        names = [n for n in nlp.pipe_names if nlp.get_pipe_meta(n).factory in TEXT_CLASSIFIERS]
        if not names:
            raise PipelineError(
                f"{model or nlp.path}: has no text classifier",
                hint="Train one: trf train-textcat MODEL TRAIN",
            )
        name = next((n for n in names if getattr(nlp.get_pipe(n), "labels", ())), names[0])
    found = Classifier.from_pipe(nlp.get_pipe(name), name, nlp.get_pipe_meta(name).factory)
    if not found.labels:
        raise PipelineError(
            f"{model or nlp.path}: {name} has no labels, so there is nothing to score",
            hint="Train it: trf train-textcat MODEL TRAIN",
        )
    return found


def gold_cats(
    records: Sequence[Record], classifier: Classifier, *, name: str
) -> list[dict[str, float]]:
    """The gold labels of records, in the form that `evaluate` takes.

    Args:
        name: Name of the file for messages.

    Raises:
        DataError: Records have labels that the classifier doesn't know, or several labels though
            the classifier's labels are exclusive. The message names the first lines.
    """
    check_known_labels(records, classifier.labels, name=name, known_as="in the model")
    if classifier.exclusive:
        check_single_labels(records, name=name)
    return [complete_cats(record, classifier.labels, classifier.exclusive) for record in records]


def _threshold(pipe: Any) -> Threshold:
    """The decision threshold of a component, or one per label if some were tuned."""
    general = float(getattr(pipe, "cfg", {}).get("threshold", DEFAULT_THRESHOLD))
    tuned = getattr(pipe, "thresholds", None)
    return {label: tuned.get(label, general) for label in pipe.labels} if tuned else general
