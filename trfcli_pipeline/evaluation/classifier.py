"""The text classifier of a pipeline: its labels, decision thresholds, and gold labels for it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from trfcli_pipeline.data.dataset import STDIN
from trfcli_pipeline.data.labels import check_known_labels, check_single_labels, complete_cats
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.eval_prediction import DEFAULT_THRESHOLD, Threshold

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
    """

    name: str
    labels: tuple[str, ...]
    exclusive: bool
    threshold: Threshold = DEFAULT_THRESHOLD

    def predicted_labels(self, cats: Mapping[str, float]) -> list[str]:
        """The labels that a text's scores predict, in the component's order."""
        known = [label for label in self.labels if label in cats]
        if self.exclusive:
            return [max(known, key=cats.__getitem__)] if known else []
        if isinstance(self.threshold, Mapping):
            return [label for label in known if cats[label] >= self.threshold[label]]
        return [label for label in known if cats[label] >= self.threshold]


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
    pipe = nlp.get_pipe(name)
    labels = tuple(getattr(pipe, "labels", ()))
    if not labels:
        raise PipelineError(
            f"{model or nlp.path}: {name} has no labels, so there is nothing to score",
            hint="Train it: trf train-textcat MODEL TRAIN",
        )
    exclusive = getattr(pipe, "exclusive_classes", False) is True
    exclusive = exclusive or nlp.get_pipe_meta(name).factory == "textcat"
    return Classifier(name, labels, exclusive, DEFAULT_THRESHOLD if exclusive else _threshold(pipe))


def gold_cats(
    records: Sequence[Record], classifier: Classifier, *, name: str
) -> list[dict[str, float]]:
    """The gold labels of records, in the form that `evaluate` takes.

    Args:
        name: Name of the file for messages; "-" is stdin.

    Raises:
        DataError: Records have labels that the classifier doesn't know, or several labels though
            the classifier's labels are exclusive. The message names the first lines.
    """
    name = "stdin" if name == STDIN else name
    check_known_labels(records, classifier.labels, name=name, known_as="in the model")
    if classifier.exclusive:
        check_single_labels(records, name=name)
    return [complete_cats(record, classifier.labels, classifier.exclusive) for record in records]


def _threshold(pipe: Any) -> Threshold:
    """The decision threshold of a component, or one per label if some were tuned."""
    general = float(getattr(pipe, "cfg", {}).get("threshold", DEFAULT_THRESHOLD))
    tuned = getattr(pipe, "thresholds", None)
    return {label: tuned.get(label, general) for label in pipe.labels} if tuned else general
