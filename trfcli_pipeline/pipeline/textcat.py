"""trf_textcat: a text classifier on the encoder's activations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from spacy.language import Language
from spacy.pipeline import TextCategorizer
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model

from trfcli_pipeline.encoder.activations import Floats
from trfcli_pipeline.errors import DataError, PipelineError
from trfcli_pipeline.heads.architectures import (
    CLASSIFIERS,
    ClassifierModel,
    make_classifier,
    set_width,
)
from trfcli_pipeline.heads.losses import exclusive_loss, multilabel_loss
from trfcli_pipeline.pipeline.components import find_component
from trfcli_pipeline.pipeline.textcat_scorer import score_textcat
from trfcli_pipeline.pipeline.textcat_start import start_at_shares
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.tokenization.extensions import install_extensions

install_extensions()

DEFAULT_SETTINGS: dict[str, Any] = {
    "architecture": "softmax_last_hidden",
    "pooling": "mean",
    "exclusive_classes": False,
    "threshold": 0.5,
    "class_weights": {},
    "focal_gamma": 0.0,
}


class TransformersTextCategorizer(TextCategorizer):
    """Pipeline component that predicts `doc.cats` from what trf_tok2vec put on the Doc.

    With `exclusive_classes` the scores of a text sum to 1 and exactly one label holds; without,
    each label has a probability of its own, and a label that an example's `cats` leaves out
    counts as unknown.

    Args:
        vocab: The vocab of the pipeline.
        model: The classifier, or True for one made from the settings.
        name: Name of the component in its pipeline.
        architecture: One of `softmax_last_hidden`, `softmax_class_vector`,
            `softmax_pooler_output`, or the name of a registered architecture.
        pooling: How the vectors of a text's segments become one: `mean`, `max` or `attention`; see
            `architectures.make_classifier`.
        exclusive_classes: Whether exactly one label holds for a text.
        threshold: The score from which on a label of several counts as predicted.
        class_weights: How much the texts of a label count in the loss, where not 1. Of labels that
            aren't exclusive, those texts that lack the label count 1 all the same.
        focal_gamma: How much less a text counts that is right already; see `losses.py`.
        scorer: The scoring method; default `Scorer.score_cats`.
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
        )

    @classmethod
    def from_nlp(cls, nlp: Language, **cfg: Any) -> Self:
        """Create the component for a pipeline, without labels yet."""
        return cls(nlp.vocab, **cfg)

    @classmethod
    def Model(  # noqa: N802 - spaCy 2's name for it
        cls,
        nr_class: int,
        width: int,
        exclusive_classes: bool = False,
        architecture: str = DEFAULT_SETTINGS["architecture"],
        pooling: str = DEFAULT_SETTINGS["pooling"],
    ) -> ClassifierModel:
        """Create a classifier.

        Args:
            nr_class: Number of labels.
            width: Width of the encoder.
        """
        model = make_classifier(architecture, exclusive_classes, pooling, nO=nr_class, nI=width)
        model.initialize()
        return model

    @property
    def exclusive_classes(self) -> bool:
        return bool(self.cfg["exclusive_classes"])

    @property
    def thresholds(self) -> dict[str, float]:
        """The scores from which on labels that aren't exclusive count as predicted.

        Labels that it leaves out have the `threshold` of all. Saved with the component; no part
        of the pipeline's config, since a label may be any text.
        """
        return dict(self.cfg["thresholds"])

    @thresholds.setter
    def thresholds(self, values: Mapping[str, float]) -> None:
        self._check_labels("thresholds", values)
        if any(not 0.0 < value < 1.0 for value in values.values()):
            raise PipelineError(f"{self.name}: thresholds must be between 0 and 1, got {values}")
        self.cfg["thresholds"] = {label: float(value) for label, value in values.items()}

    @property
    def support_missing_values(self) -> bool:
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
        """Set the labels and the shape of the classifier.

        Args:
            get_examples: Examples to take the labels from; None if there are labels already.
            nlp: The pipeline that the component is in, with its encoder.
            labels: The labels, in the order that their scores should have.
            positive_label: Of two exclusive labels, the one whose scores count.

        Raises:
            PipelineError: The pipeline has no encoder, or one that can't serve the architecture.
            DataError: There are too few labels.
        """
        if get_examples is not None:
            validate_get_examples(get_examples, "TransformersTextCategorizer.initialize")
            self._validate_categories(get_examples())
            if labels is None:
                labels = [label for eg in get_examples() for label in eg.reference.cats]
        for label in labels or ():
            self.add_label(label)
        least = 2 if self.exclusive_classes else 1
        if len(self.labels) < least:
            raise DataError(
                f"{self.name}: {len(self.labels)} labels, but it takes at least {least}",
                hint="Give labels in the data, or with add_label",
            )
        if positive_label is not None and positive_label not in self.labels:
            raise DataError(f"{positive_label}: the positive label is none of {self.labels}")
        self.cfg["positive_label"] = positive_label
        if nlp is None:
            raise PipelineError(f"{self.name}: initialize needs the pipeline (nlp=...)")
        encoder = find_component(nlp, TransformersTok2Vec)
        wordpiecer = find_component(nlp, TransformersWordPiecer)
        if encoder is None or wordpiecer is None:
            missing = "trf_tok2vec" if encoder is None else "trf_wordpiecer"
            raise PipelineError(
                f"The pipeline has no {missing}",
                hint="Add sentencizer, trf_wordpiecer and trf_tok2vec ahead of trf_textcat",
            )
        self._check_architecture(encoder, wordpiecer)
        self._check_labels("class_weights", self.cfg["class_weights"])
        set_width(self.model, encoder.token_vector_width)
        self.model.get_ref("output_layer").set_dim("nO", len(self.labels))
        self.model.initialize()
        if get_examples is not None and not self.exclusive_classes:
            start_at_shares(self, (eg.reference.cats for eg in get_examples()))

    def predict(self, docs: Iterable[Doc]) -> Floats:
        """Scores of each label. *Shape:* (docs, labels)"""
        docs = list(docs)
        if not docs:
            return self.model.ops.alloc2f(0, len(self.labels))
        # spaCy's own gives a batch of empty Docs other scores than an empty Doc among others.
        return self.model.predict(docs)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Any = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch, and hand the gradient on to the encoder through the Docs.

        The loss that is added to `losses` is the mean over the batch of the cross-entropy.
        """
        # spaCy's loop passes False for "no step yet", which its own TextCategorizer would take
        # for an optimizer.
        return super().update(examples, drop=drop, sgd=sgd or None, losses=losses)

    def get_loss(self, examples: Iterable[Example], scores: Floats) -> tuple[float, Any]:
        """Cross-entropy, averaged over the batch, and its gradient.

        Exclusive labels: the categorical cross-entropy, over the examples that have a label.
        Otherwise the binary one, averaged over the labels that are known. See `losses.py`.

        Returns:
            The loss, and its gradient with respect to the logits. *Shape:* (texts, labels)
        """
        examples = list(examples)
        validate_examples(examples, "TransformersTextCategorizer.get_loss")
        self._validate_categories(examples)
        truths: Floats
        known: Floats
        truths, known = self._examples_to_truth(examples)
        return self.loss_against(truths, known, scores, self.model.ops)

    def loss_against(
        self, truths: Floats, known: Floats, scores: Floats, ops: Any
    ) -> tuple[float, Any]:
        """As `get_loss`, against labels as arrays. *Shapes:* (texts, labels) thrice"""
        weights = ops.asarray1f([self.cfg["class_weights"].get(each, 1.0) for each in self.labels])
        gamma = self.cfg["focal_gamma"]
        if self.exclusive_classes:
            return exclusive_loss(ops.xp, scores, truths, weights=weights, gamma=gamma)
        known = ops.asarray2f(known)
        return multilabel_loss(ops.xp, scores, truths, known, weights=weights, gamma=gamma)

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score the predicted `doc.cats`; see `spacy.scorer.Scorer.score_cats`."""
        return super().score(examples, **{"multi_label": not self.exclusive_classes, **kwargs})

    def _check_labels(self, setting: str, values: Mapping[str, float]) -> None:
        unknown = [label for label in values if label not in self.labels]
        if unknown:
            raise PipelineError(
                f"{self.name}: {setting} names {', '.join(unknown)}, which is no label",
                hint=f"The labels are: {', '.join(self.labels)}",
            )

    def _validate_categories(self, examples: Iterable[Example]) -> None:
        for eg in examples:
            values = list(eg.reference.cats.values())
            if any(not 0.0 <= value <= 1.0 for value in values):
                raise DataError(f"cats must be numbers from 0 to 1, got {eg.reference.cats}")
            if self.exclusive_classes and sum(value >= 0.5 for value in values) > 1:
                raise DataError(
                    f"Exclusive labels, but several of them hold: {eg.reference.cats}",
                    hint='Set exclusive_classes = false, or "--multilabel"',
                )

    def _check_architecture(
        self, encoder: TransformersTok2Vec, wordpiecer: TransformersWordPiecer
    ) -> None:
        """Refuse an architecture that the encoder can't serve; name those that it can."""
        class_id = wordpiecer.tokenizer.cls_token_id
        has_pooler = getattr(encoder.transformers_model, "pooler", None) is not None
        serves = {
            "softmax_last_hidden": True,
            "softmax_class_vector": class_id is not None,
            "softmax_pooler_output": has_pooler,
        }
        architecture = self.cfg["architecture"]
        if not serves.get(architecture, True):
            lacks = "class token" if architecture == "softmax_class_vector" else "trained pooler"
            raise PipelineError(
                f"{architecture}: this encoder has no {lacks}",
                hint=f"Use {' or '.join(name for name in CLASSIFIERS if serves[name])}",
            )
        for layer in self.model.get_ref("features").walk():
            kind = layer.attrs.get("reads")
            if kind is not None and kind not in encoder.kept:
                raise PipelineError(
                    f"{architecture}: trf_tok2vec doesn't keep the {kind} that it reads",
                    hint=f'Set keep = ["{kind}"] for trf_tok2vec',
                )
            if "class_token_id" in layer.attrs:
                layer.attrs["class_token_id"] = class_id


@Language.factory(
    "trf_textcat",
    default_config={**DEFAULT_SETTINGS, "scorer": {"@scorers": "trfcli.textcat_scorer.v1"}},
    assigns=["doc.cats"],
    requires=["doc.tensor"],
    default_score_weights={
        "cats_score": 1.0,
        "cats_score_desc": None,
        "cats_micro_p": None,
        "cats_micro_r": None,
        "cats_micro_f": None,
        "cats_macro_p": None,
        "cats_macro_r": None,
        "cats_macro_f": None,
        "cats_macro_auc": None,
        "cats_f_per_type": None,
    },
)
def make_textcat(
    nlp: Language,
    name: str,
    architecture: str,
    pooling: str,
    exclusive_classes: bool,
    threshold: float,
    class_weights: dict[str, float],
    focal_gamma: float,
    scorer: Callable[..., dict[str, Any]] | None,
) -> TransformersTextCategorizer:
    return TransformersTextCategorizer.from_nlp(
        nlp,
        name=name,
        architecture=architecture,
        pooling=pooling,
        exclusive_classes=exclusive_classes,
        threshold=threshold,
        class_weights=class_weights,
        focal_gamma=focal_gamma,
        scorer=scorer,
    )
