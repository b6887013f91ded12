"""Explains the predictions of a loaded pipeline."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trfcli_pipeline.errors import ArgumentError, PipelineError
from trfcli_pipeline.evaluation.classifier import (
    Classifier,
    check_threshold,
    find_classifier,
    predicted_labels,
)
from trfcli_pipeline.evaluation.explanation import Explanation, TokenAttribution
from trfcli_pipeline.pipeline.loading import keep_what_heads_read, require_encoder

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc


class Explainer:
    """Explains the predictions of a pipeline's text classifiers.

    Args:
        nlp: The pipeline.
        model: Its directory or name for messages, as the user gave it.
        threshold: Decision threshold of multi-label classifiers, by default each one's own.

    Raises:
        PipelineError: The pipeline has no `trf_textcat` with labels, or no gradients.
        ArgumentError: A threshold for exclusive labels.
    """

    def __init__(self, nlp: "Language", model: str, *, threshold: float | None = None) -> None:
        from trfcli_pipeline.encoder.attribution import check_differentiable

        find_classifier(nlp, model=model)
        self.nlp = nlp
        self._components: dict[str, Any] = {}
        self._classifiers: list[Classifier] = []
        for name in nlp.pipe_names:
            pipe: Any = nlp.get_pipe(name)
            if nlp.get_pipe_meta(name).factory == "trf_textcat" and pipe.labels:
                found = Classifier.from_pipe(pipe, name)
                self._classifiers.append(
                    found if threshold is None else found._replace(threshold=threshold)
                )
                self._components |= dict.fromkeys(pipe.labels, pipe)
        if not self._classifiers:
            raise PipelineError(
                f"{model}: only predictions of trf_textcat can be explained",
                hint="Train one: trf train-textcat MODEL TRAIN",
            )
        check_threshold(threshold, self._classifiers)
        self._encoder = require_encoder(nlp)
        check_differentiable(self._encoder.model.shim)
        keep_what_heads_read(nlp, aligned=True)

    def check_label(self, label: str) -> None:
        """Raise an ArgumentError if no classifier has the label."""
        if label not in self._components:
            raise ArgumentError(
                f"{label}: not a label of this model",
                hint=f"Use one of: {', '.join(self._components)}",
            )

    def labels_to_explain(self, doc: "Doc") -> list[str]:
        """Return the labels that apply, or else the one with the highest score."""
        found = predicted_labels(doc.cats, self._classifiers)
        return found or [max(self._components, key=lambda label: doc.cats[label])]

    def explain(
        self, doc: "Doc", label: str | None = None, *, steps: int | None = None
    ) -> Iterator[Explanation]:
        """Explain a prediction.

        Args:
            doc: A Doc that the pipeline has processed.
            label: The label to explain; None for those of `labels_to_explain`.
            steps: See `pipeline.attributions.attribute`.
        """
        from trfcli_pipeline.pipeline.attributions import attribute

        applying = predicted_labels(doc.cats, self._classifiers)
        for each in self.labels_to_explain(doc) if label is None else [label]:
            found = attribute(doc, self._encoder, self._components[each], each, steps=steps)
            tokens = zip(doc, found.values.tolist(), strict=True)
            yield Explanation(
                label=each,
                score=doc.cats[each],
                is_predicted=each in applying,
                log_odds=found.score,
                base=found.base,
                tokens=tuple(TokenAttribution(t.text, t.whitespace_, value) for t, value in tokens),
                steps=found.steps,
                is_complete=found.is_complete,
            )
