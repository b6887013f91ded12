"""Predict texts as they come, to try a text classifier."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trfcli_pipeline.evaluation.classifier import check_threshold, find_classifier, find_classifiers
from trfcli_pipeline.pipeline.loading import keep_what_heads_read, load_pipeline
from trfcli_pipeline.tasks.predictions import Batch, Predictor
from trfcli_pipeline.tasks.single_texts import BlankLine, batches, check_lengths, check_stdin

_FITTED = ("unsure", "label_set", "novelty")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a pipeline predicts for a text.

    Attributes:
        text: The text.
        labels: The labels that apply, by descending score.
        cats: The score of each label, by descending score.
        thresholds: The decision threshold of each label; labels of exclusive classes have none.
        exclusive: Whether exactly one label applies.
        unsure: Whether the text should not be answered; None if that wasn't fitted.
        label_set: The labels that can't be ruled out; None if that wasn't fitted.
        novelty: How unlike the labeled texts it is; None if that wasn't fitted.
    """

    text: str
    labels: list[str]
    cats: dict[str, float]
    thresholds: dict[str, float]
    exclusive: bool
    unsure: bool | None = None
    label_set: list[str] | None = None
    novelty: float | None = None

    def as_json(self, top_k: int | None = None) -> dict[str, Any]:
        """Return text, label or labels, what was fitted, and the highest `top_k` scores, or all."""
        predicted = {"label": self.labels[0]} if self.exclusive else {"labels": self.labels}
        fitted = {name: getattr(self, name) for name in _FITTED if getattr(self, name) is not None}
        cats = dict(list(self.cats.items())[:top_k])
        return {"text": self.text, **predicted, **fitted, "cats": cats}


def predict(
    model: str,
    texts: Sequence[str] | None,
    *,
    threshold: float | None = None,
    device: str = "auto",
) -> Iterator[Prediction | BlankLine]:
    """Load a pipeline with a text classifier, to predict texts.

    Args:
        model: Directory of a pipeline, or name of an installed one.
        texts: The texts, which are predicted together. None for the lines of stdin: each is
            predicted as soon as it can be read.
        threshold: Decision threshold of multi-label classifiers, by default each one's own.
        device: Device for the encoder.

    Returns:
        An iterator over the predictions, or over those of stdin as they come.

    Raises:
        PipelineError: The pipeline can't be loaded, has no text classifier, or fails on a text.
        DeviceError: The machine has no such device.
        DataError: A text is too long, or stdin can't be read.
        ArgumentError: A threshold for exclusive labels.
    """
    check_stdin(texts, "trf predict")
    nlp = load_pipeline(model, device=device)
    find_classifier(nlp, model=model)
    check_threshold(threshold, find_classifiers(nlp))
    keep_what_heads_read(nlp)
    predictor = Predictor(nlp, threshold=threshold)
    predictions = _predict_all(predictor, texts)
    # Given texts are predicted at once, so that errors come before anything is printed.
    return predictions if texts is None else iter(list(predictions))


def _predict_all(
    predictor: Predictor, texts: Sequence[str] | None
) -> Iterator[Prediction | BlankLine]:
    for batch in batches(texts):
        if isinstance(batch, BlankLine):
            yield batch
        else:
            yield from _predict_batch(predictor, batch)


def _predict_batch(predictor: Predictor, batch: Batch) -> list[Prediction]:
    check_lengths(predictor.nlp, batch)
    classifiers = predictor.classifiers
    thresholds = {
        label: each.thresholds[label] for each in classifiers for label in each.thresholds
    }
    exclusive = [each.exclusive for each in classifiers] == [True]
    rows: Any = predictor(batch).content
    return [
        Prediction(
            text,
            row["labels"],
            dict(sorted(row["cats"].items(), key=lambda item: -item[1])),
            thresholds,
            exclusive,
            *map(row.get, _FITTED),
        )
        for text, row in zip(batch.texts, rows, strict=True)
    ]
