"""The decisions of a text classifier: which labels apply, by its thresholds."""

from collections.abc import Iterable, Mapping

from spacy.pipeline import TextCategorizer
from spacy.tokens import Doc
from thinc.types import Floats2d

from trfcli_pipeline.evaluation.classifier import Classifier, predicted_labels
from trfcli_pipeline.pipeline import textcat_checks as checks
from trfcli_pipeline.pipeline.component_hooks import CLASSIFIER, remember_component
from trfcli_pipeline.tokenization.extensions import add_classifier


class DecidingTextCategorizer(TextCategorizer):
    """A `TextCategorizer` that decides which labels apply, with a threshold for each label."""

    @property
    def exclusive_classes(self) -> bool:
        """Whether exactly one label applies to each text."""
        return bool(self.cfg["exclusive_classes"])

    @property
    def thresholds(self) -> dict[str, float]:
        """Decision thresholds of single labels, between 0 and 1; the others have `threshold`.

        They are saved with the component rather than in the pipeline's config, because a label may
        be any text.

        Raises:
            PipelineError: When set to a value out of range, or for an unknown label.
        """
        return dict(self.cfg["thresholds"])

    @thresholds.setter
    def thresholds(self, values: Mapping[str, float]) -> None:
        checks.check_thresholds(self.name, values, self.labels)
        self.cfg["thresholds"] = {label: float(value) for label, value in values.items()}

    def predicted_labels(self, cats: Mapping[str, float]) -> list[str]:
        """Decide which labels apply to a text.

        With exclusive classes it is the one with the highest score, otherwise those whose scores
        reach their decision thresholds. `doc._.trf_labels` has the labels of all classifiers.

        Args:
            cats: The scores of the text, such as `doc.cats`. Labels of other components are
                ignored.

        Returns:
            The labels by descending score.
        """
        return predicted_labels(cats, [Classifier.from_pipe(self, self.name)])

    def set_annotations(self, docs: Iterable[Doc], scores: Floats2d) -> None:
        """Set `doc.cats`, and what `doc._.trf_labels` and `doc._.trf_attributions` need.

        Args:
            docs: The Docs.
            scores: What `predict` returned. *Shape:* (docs, labels)
        """
        docs = list(docs)
        super().set_annotations(docs, scores)
        classifier = Classifier.from_pipe(self, self.name)
        for doc in docs:
            add_classifier(doc, classifier)
        remember_component(docs, CLASSIFIER, self)
