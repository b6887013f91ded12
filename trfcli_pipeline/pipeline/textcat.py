"""trf_textcat: a text classifier on the encoder's activations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from spacy.errors import Errors
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model, NumpyOps, Ops, Optimizer, set_dropout_rate
from thinc.types import Floats2d

from trfcli_pipeline.data.labels import check_cats
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.architectures import ClassifierModel, make_classifier
from trfcli_pipeline.heads.initialization import (
    copy_weights,
    linear_probe_weights,
    prior_bias,
    set_output_weights,
)
from trfcli_pipeline.heads.losses import exclusive_loss, multilabel_loss, truth_arrays
from trfcli_pipeline.pipeline import textcat_checks as checks
from trfcli_pipeline.pipeline.attributions import install_attributions
from trfcli_pipeline.pipeline.components import no_rehearsal
from trfcli_pipeline.pipeline.finite import check_finite
from trfcli_pipeline.pipeline.textcat_decisions import DecidingTextCategorizer
from trfcli_pipeline.pipeline.textcat_encoder import connect_to_encoder
from trfcli_pipeline.pipeline.textcat_scorer import score_textcat
from trfcli_pipeline.tokenization.extensions import install_extensions

install_extensions()
install_attributions()

DEFAULT_SETTINGS: dict[str, Any] = {
    "architecture": "softmax_last_hidden",
    "pooling": "mean",
    "exclusive_classes": False,
    "threshold": 0.5,
    "class_weights": {},
    "focal_gamma": 0.0,
}


class TransformersTextCategorizer(DecidingTextCategorizer):
    """Pipeline component that predicts `doc.cats` from the encoder's activations.

    With `exclusive_classes`, exactly one label applies to each text and the scores sum to 1.
    Otherwise each label has a probability of its own, and a label that is missing in an example's
    `cats` is unknown.

    Args:
        vocab: The vocab of the pipeline.
        model: The classifier; True to create one from the settings.
        name: Name of the component in its pipeline.
        architecture: What the classifier reads: "softmax_last_hidden" (the mean of the last hidden
            states), "softmax_class_vector", "softmax_pooler_output", or the name of a registered
            architecture.
        pooling: How to combine the vectors of a text's segments: "mean", "max", or "attention"
            (an average with learned weights).
        exclusive_classes: Whether exactly one label applies to each text.
        threshold: The score from which a multi-label classifier predicts a label.
        class_weights: Weights of labels in the loss; labels that are left out have 1. In a
            multi-label classifier the weight applies to the texts that have the label.
        focal_gamma: Exponent of the focal loss, which down-weights texts that the model already
            gets right; 0 for the plain cross-entropy. See `heads/losses.py`.
        scorer: The scoring method; `textcat_scorer.score_textcat` by default.

    Raises:
        PipelineError: The architecture or the pooling doesn't exist.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: ClassifierModel | bool = True,
        name: str = "trf_textcat",
        *,
        architecture: str = DEFAULT_SETTINGS["architecture"],
        pooling: str = DEFAULT_SETTINGS["pooling"],
        exclusive_classes: bool = DEFAULT_SETTINGS["exclusive_classes"],
        threshold: float = DEFAULT_SETTINGS["threshold"],
        class_weights: Mapping[str, float] | None = None,
        focal_gamma: float = DEFAULT_SETTINGS["focal_gamma"],
        scorer: Callable[..., dict[str, Any]] | None = None,
    ) -> None:
        if not isinstance(model, Model):
            model = make_classifier(architecture, exclusive_classes, pooling)
        super().__init__(vocab, model, name, threshold=threshold, scorer=scorer or score_textcat)
        self.cfg.update(
            architecture=architecture,
            pooling=pooling,
            exclusive_classes=exclusive_classes,
            class_weights=dict(class_weights or {}),
            focal_gamma=focal_gamma,
            thresholds={},
            abstention=None,
        )

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without labels; `cfg` goes to the constructor."""
        return cls(nlp.vocab, **cfg)

    @classmethod
    def Model(  # noqa: N802 - its name since spaCy 2
        cls,
        nr_class: int,
        width: int,
        exclusive_classes: bool = False,
        architecture: str = DEFAULT_SETTINGS["architecture"],
        pooling: str = DEFAULT_SETTINGS["pooling"],
    ) -> ClassifierModel:
        """Create a classifier for `nr_class` labels and an encoder of the given width."""
        settings = (architecture, exclusive_classes, pooling)
        return make_classifier(*settings, nO=nr_class, nI=width).initialize()

    @property
    def support_missing_values(self) -> bool:
        """Whether labels that are missing in `cats` are unknown, rather than 0."""
        return not self.exclusive_classes

    @property
    def is_initialized(self) -> bool:
        """Whether the classifier has weights."""
        return bool(self.model.get_ref("output_layer").has_param("W"))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None,
        *,
        nlp: Language | None = None,
        labels: Iterable[str] | None = None,
        positive_label: str | None = None,
    ) -> None:
        """Set the labels and create the weights.

        Args:
            get_examples: Returns examples to take the labels and their frequencies from; None if
                the labels are known already.
            nlp: The pipeline with the encoder.
            labels: The labels in the order of their scores; None for those of the examples.
            positive_label: The label whose scores count, if there are two exclusive labels.

        Raises:
            PipelineError: The pipeline has no encoder, or one that doesn't provide what the
                architecture reads.
            DataError: There are too few labels.
        """
        labels = None if labels is None else checks.check_unique(self.name, labels)
        if get_examples is not None:
            validate_get_examples(get_examples, "TransformersTextCategorizer.initialize")
            self._validate_categories(get_examples())
            if labels is None:
                labels = [label for eg in get_examples() for label in eg.reference.cats]
        for label in labels or ():
            self.add_label(label)
        # Thresholds and the rest were fitted for the weights that are about to be replaced.
        self.forget_fitted()
        self.cfg.update(positive_label=positive_label, thresholds={})
        checks.check_settings(self.name, self.labels, self.cfg)
        if nlp is None:
            raise PipelineError(f"{self.name}: initialize needs the pipeline (nlp=...)")
        connect_to_encoder(self.model, self.cfg["architecture"], nlp)
        self.model.get_ref("output_layer").set_dim("nO", len(self.labels))
        self.model.initialize()
        if get_examples is not None and not self.exclusive_classes:
            self.initialize_from_priors(eg.reference.cats for eg in get_examples())

    def add_label(self, label: str) -> int:
        """Add a label, before the classifier has weights; returns 0 if it is there already."""
        if label not in self.labels and self.is_initialized:
            raise ValueError(Errors.E922.format(name=self.name, nO=len(self.labels)))
        return super().add_label(label)

    def initialize_from_priors(self, cats: Iterable[Mapping[str, float]]) -> None:
        """Let a multi-label classifier start at the frequency of each label.

        Args:
            cats: The labels of each text; see `initialization.prior_bias`.
        """
        set_output_weights(self.model, b=prior_bias(cats, self.labels))

    def initialize_from_probe(self, features: Floats2d, examples: Iterable[Example]) -> None:
        """Let the classifier start as a linear probe of the encoder as it is.

        Args:
            features: What the classifier reads from the Docs of the examples.
                *Shape:* (texts, width)
            examples: The labels to fit; see `initialization.linear_probe_weights`.
        """
        cpu = NumpyOps()
        truths, known = map(cpu.to_numpy, self._gold(examples))
        activation = cpu.softmax if self.exclusive_classes else cpu.sigmoid
        count = truths.any(axis=1).sum() if self.exclusive_classes else known.sum()

        def loss(logits: Any) -> tuple[float, Any]:
            mean, d_logits = self._loss(truths, known, activation(logits), cpu)
            return count * mean, count * d_logits

        rows = np.asarray(self.model.ops.to_numpy(features), dtype="float64")
        W, b = linear_probe_weights(rows, loss, len(self.labels))
        set_output_weights(self.model, W=W, b=b)

    def initialize_from_classifier(self, other: "TransformersTextCategorizer") -> None:
        """Take over the weights and thresholds of a classifier with the same architecture.

        Labels that both have keep their rows of the output layer. The other rows stay as they are.
        When not to answer is taken over only if both have the same labels, and so is the novelty.

        Args:
            other: The classifier to continue from.
        """
        copy_weights(self.model, other.model, self.labels, other.labels)
        self.thresholds = {
            label: value for label, value in other.thresholds.items() if label in self.labels
        }
        if sorted(self.labels) == sorted(other.labels):
            self.fitted_abstention, self.novelty = other.fitted_abstention, other.novelty

    def predict(self, docs: Iterable[Doc]) -> Floats2d:
        """Predict the score of each label. *Shape:* (docs, labels)"""
        checks.require_weights(self.name, self.model)
        docs = list(docs)
        if not docs:
            return self.model.ops.alloc2f(0, len(self.labels))
        # TextCategorizer.predict scores empty Docs differently if all Docs of the batch are empty.
        scores = self.model.predict(docs)
        check_finite(self.name, "scores", scores, docs)
        return scores

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
        weight: float = 1.0,
    ) -> dict[str, float]:
        """Learn from a batch, and add the gradient for the encoder to the Docs.

        Args:
            examples: The batch, processed by the components before this one.
            drop: Dropout rate.
            sgd: The optimizer; None to take the step in a later call of `finish_update`.
            losses: Where to add the mean cross-entropy of the batch, under the component's name.
            weight: Factor of the loss and its gradient: the batch's share of a step.
        """
        checks.require_weights(self.name, self.model)
        examples, losses = list(examples), {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        self.forget_fitted()
        # TextCategorizer.update would skip a batch of empty Docs, but learn from one among others.
        if examples:
            set_dropout_rate(self.model, drop)
            scores, backprop = self.model.begin_update([eg.predicted for eg in examples])
            loss, d_scores = self.get_loss(examples, scores)
            backprop(weight * d_scores)
            losses[self.name] += weight * loss
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def rehearse(self, examples: Iterable[Example], **_: Any) -> dict[str, float]:
        """Raise a PipelineError: spaCy can't rehearse what several components learn together."""
        raise no_rehearsal(self.name)

    def get_loss(self, examples: Iterable[Example], scores: Floats2d) -> tuple[float, Any]:
        """Compute the cross-entropy of a batch and its gradient; see `heads/losses.py`.

        Args:
            examples: The batch.
            scores: What `predict` returned. *Shape:* (texts, labels)

        Returns:
            The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
        """
        examples = list(examples)
        validate_examples(examples, "TransformersTextCategorizer.get_loss")
        self._validate_categories(examples)
        check_finite(self.name, "scores", scores, [eg.predicted for eg in examples])
        return self._loss(*self._gold(examples), scores, self.model.ops)

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score the predicted `doc.cats`; see `spacy.scorer.Scorer.score_cats`."""
        return super().score(examples, **{"multi_label": not self.exclusive_classes, **kwargs})

    def _allow_extra_label(self) -> None:
        # TrainablePipe's own reads the dimension of the whole model, which is never set.
        if self.model.get_ref("output_layer").maybe_get_dim("nO") == len(self.labels):
            raise ValueError(Errors.E922.format(name=self.name, nO=len(self.labels)))

    def _gold(self, examples: Iterable[Example]) -> tuple[Floats2d, Floats2d]:
        return truth_arrays([eg.reference.cats for eg in examples], self.labels)

    def _loss(
        self, truths: Floats2d, known: Floats2d, scores: Floats2d, ops: Ops
    ) -> tuple[float, Floats2d]:
        weights = ops.asarray1f([self.cfg["class_weights"].get(each, 1.0) for each in self.labels])
        options: Any = {"weights": weights, "gamma": self.cfg["focal_gamma"]}
        if self.exclusive_classes:
            return exclusive_loss(scores, ops.asarray2f(truths), **options)
        return multilabel_loss(scores, ops.asarray2f(truths), ops.asarray2f(known), **options)

    def _validate_categories(self, examples: Iterable[Example]) -> None:
        for eg in examples:
            check_cats(eg.reference.cats, exclusive=self.exclusive_classes)
