"""The decisions of a text classifier: which labels apply, and whether it is sure of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import numpy as np
import srsly
from spacy.pipeline import TextCategorizer
from spacy.tokens import Doc
from thinc.types import Floats2d

from trfcli_pipeline.evaluation.abstention import Abstention, FittedAbstention
from trfcli_pipeline.evaluation.classifier import Classifier, predicted_labels
from trfcli_pipeline.heads.novelty import Novelty
from trfcli_pipeline.pipeline import textcat_checks as checks
from trfcli_pipeline.pipeline.component_hooks import CLASSIFIER, remember_component
from trfcli_pipeline.tokenization.doc_attributes import NOVELTY, store
from trfcli_pipeline.tokenization.extensions import add_classifier

# The part of the saved component with what `novelty` needs.
NOVELTY_FILE = "novelty"


class DecidingTextCategorizer(TextCategorizer):
    """A `TextCategorizer` that decides which labels apply, and whether it is sure of them.

    Attributes:
        novelty: How to measure how unlike the labeled texts a text is; None if it wasn't fitted.
    """

    novelty: Novelty | None = None

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
        thresholds = {label: float(value) for label, value in values.items()}
        if thresholds != self.cfg["thresholds"]:
            self.forget_fitted()
        self.cfg["thresholds"] = thresholds

    @property
    def fitted_abstention(self) -> FittedAbstention | None:
        """When the classifier doesn't answer, and what it promises; None if nothing was fitted.

        See `evaluation.abstention.fit_abstention`.
        """
        values = self.cfg.get("abstention")
        return FittedAbstention.from_json(values) if values else None

    @fitted_abstention.setter
    def fitted_abstention(self, fitted: FittedAbstention | None) -> None:
        self.cfg["abstention"] = None if fitted is None else fitted.as_json()

    @property
    def abstention(self) -> Abstention | None:
        """What decides whether a text is answered; None if nothing was fitted."""
        fitted = self.fitted_abstention
        return None if fitted is None else fitted.abstention

    def forget_fitted(self) -> None:
        """Drop what was fitted to predictions and features that are about to change."""
        self.cfg["abstention"] = None
        self.novelty = None

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
        """Set `doc.cats`, and what `doc._.trf_labels` and similar attributes need to decide.

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
        if self.novelty is not None and docs:
            features = self.model.get_ref("features").predict(docs)
            to_numpy = self.model.ops.to_numpy
            values = self.novelty.score(to_numpy(features), to_numpy(scores).astype(np.float64))
            for doc, value in zip(docs, values.tolist(), strict=True):
                store(doc, NOVELTY, value)

    def save_novelty(self, path: Path) -> None:
        """Save how novelty is measured in the component's directory, or remove that of another."""
        file = path / NOVELTY_FILE
        if self.novelty is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(srsly.msgpack_dumps(self.novelty.as_dict()))

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Save the component to a directory; `exclude` has the names of parts to leave out."""
        super().to_disk(path, exclude=exclude)
        if NOVELTY_FILE not in exclude:
            self.save_novelty(Path(path))

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_disk` saved."""
        self.forget_fitted()
        super().from_disk(path, exclude=exclude)
        file = Path(path) / NOVELTY_FILE
        if NOVELTY_FILE not in exclude and file.is_file():
            self.novelty = Novelty.from_dict(srsly.msgpack_loads(file.read_bytes()))
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Serialize the component."""
        novelty = (
            None if NOVELTY_FILE in exclude or self.novelty is None else self.novelty.as_dict()
        )
        component = super().to_bytes(exclude=exclude)
        return srsly.msgpack_dumps({"component": component, NOVELTY_FILE: novelty})

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> Self:
        """Load what `to_bytes` returned."""
        self.forget_fitted()
        parts = srsly.msgpack_loads(bytes_data)
        # Earlier versions saved only the component.
        super().from_bytes(parts.get("component", bytes_data), exclude=exclude)
        if NOVELTY_FILE not in exclude and parts.get(NOVELTY_FILE):
            self.novelty = Novelty.from_dict(parts[NOVELTY_FILE])
        return self
