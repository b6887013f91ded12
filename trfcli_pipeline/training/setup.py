"""Prepares a pipeline's components for training."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from spacy.language import Language

from trfcli_pipeline.curation.self_training import SelfTraining
from trfcli_pipeline.data.wording import agree, enumeration, plural
from trfcli_pipeline.encoder.layer_depths import find_layers
from trfcli_pipeline.heads.architectures import kinds_read, make_classifier
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.loading import keep_only
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.training.classifier_start import set_priors, start_classifier, unused
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.overrides import TEXTCAT

# Settings that decide which weights a classifier has.
_STRUCTURE = ("architecture", "pooling", "exclusive_classes")
# Settings of an existing classifier that stay in force unless the user chooses others.
_INHERITED = ("architecture", "pooling", "threshold", "scorer")


def set_up_encoder(encoder: TransformersTok2Vec, config: TrainingConfig) -> list[str]:
    """Freeze layers, add LoRA adapters and set the precision, as the config asks for.

    Returns: What goes beyond plain fine-tuning, as phrases.
    """
    arguments, shim = config.arguments, encoder.model.shim
    methods = []
    if not arguments.freeze_encoder:
        shim.prepare_training(
            freeze_layers=arguments.freeze_layers,
            lora_rank=arguments.lora,
            # None is the pipeline's own precision.
            precision=None if arguments.precision == "auto" else arguments.precision,
        )
        if arguments.freeze_layers:
            number = len(find_layers(shim.module))
            methods.append(f"lowest {arguments.freeze_layers} of {number} layers frozen")
        if config.layer_decay != 1:
            find_layers(shim.module)
            methods.append(f"layer decay {config.layer_decay:g}")
        if arguments.lora:
            trained = sum(each.numel() for each in shim.gradients.weights)
            methods.append(f"LoRA of rank {arguments.lora}, {trained:,} weights")
    if config.averages:
        methods.append("averaged weights")
    return methods


def set_up_segments(nlp: Language, config: TrainingConfig) -> str:
    """Have the wordpiecer divide texts as the config says.

    Returns: What a segment is, as a phrase.

    Raises:
        PipelineError: The pipeline has no wordpiecer.
    """
    wordpiecer = require_component(nlp, TransformersWordPiecer)
    wordpiecer.settings = replace(wordpiecer.settings, **config.segmentation)
    nlp.get_pipe_config(wordpiecer.name).update(asdict(wordpiecer.settings))
    windows = f"windows of up to {wordpiecer.max_length} wordpieces"
    phrases = {"windows": windows, "doc": "whole texts", "sentences": "single sentences"}
    return phrases[wordpiecer.settings.segments]


def set_up_outputs(nlp: Language, config: TrainingConfig) -> None:
    """Store only what the classifier will read on Docs, unless other components follow.

    With a frozen encoder, many more Docs fit in memory.
    """
    encoder = require_component(nlp, TransformersTok2Vec)
    following = nlp.pipe_names[nlp.pipe_names.index(encoder.name) + 1 :]
    if set(following) <= {TEXTCAT}:
        before = nlp.get_pipe_config(TEXTCAT) if following else {}
        settings = classifier_settings(config, before)
        structure = {name: settings[name] for name in _STRUCTURE if name in settings}
        keep_only(nlp, kinds_read(make_classifier(**structure)))


@dataclass(frozen=True, slots=True)
class ClassifierSetup:
    """The classifier to train, and where it comes from.

    Attributes:
        phrase: What was done, as a phrase.
        warnings: What changes in an existing classifier, and what to know about its start, as
            sentences.
        self_training: Whether unlabeled texts help a new classifier; None if there are none.
    """

    classifier: TransformersTextCategorizer
    phrase: str
    warnings: Sequence[str] = ()
    self_training: SelfTraining | None = None


def set_up_classifier(
    nlp: Language, config: TrainingConfig, data: Data, examples: Examples
) -> ClassifierSetup:
    """Give the pipeline a classifier with the labels of the data.

    An existing classifier with the same architecture is trained further, with the class weights
    and the focal loss of this training. Labels are added to it, but only removed if the arguments
    ask for it.

    Args:
        examples: The training texts of the data.
    """
    old = _classifier(nlp)
    wanted = classifier_settings(config, {} if old is None else nlp.get_pipe_config(TEXTCAT))
    factory = wanted.pop("factory")
    if config.arguments.balance:
        wanted["class_weights"] = _balanced_weights(data)
    if old is None:
        nlp.add_pipe(factory, name=TEXTCAT, config=wanted)
        return _start_anew(nlp, config, data, examples, "new classifier")
    differences = [
        f"{name} is {wanted[name]} instead of {old.cfg[name]}"
        for name in _STRUCTURE
        if name in wanted and wanted[name] != old.cfg[name]
    ]
    nlp.replace_pipe(TEXTCAT, factory, config=wanted)
    if differences or not old.is_initialized:
        phrase = "new classifier, replacing one with other settings"
        setup = _start_anew(nlp, config, data, examples, phrase)
        lost = f"The trained classifier will be replaced by a new one: {', '.join(differences)}"
        return replace(setup, warnings=[*setup.warnings, *([lost] if differences else [])])
    return _continue(nlp, config, data, old)


def classifier_settings(config: TrainingConfig, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return factory and settings of the classifier that will be trained.

    Args:
        before: Settings of the pipeline's own classifier; empty if it has none.
    """
    inherited = {
        name: before[name]
        for name in _INHERITED
        if name in before and name not in config.chosen_for_classifier
    }
    return config.classifier | inherited


def _start_anew(
    nlp: Language, config: TrainingConfig, data: Data, examples: Examples, phrase: str
) -> ClassifierSetup:
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    classifier.initialize(None, nlp=nlp, labels=data.labels)
    start = start_classifier(nlp, classifier, config, data, examples)
    phrase = ", ".join(filter(None, [phrase, start.phrase]))
    return ClassifierSetup(classifier, phrase, start.warnings, start.self_training)


def _continue(
    nlp: Language, config: TrainingConfig, data: Data, old: TransformersTextCategorizer
) -> ClassifierSetup:
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    missing = [label for label in old.labels if label not in data.labels]
    new = [label for label in data.labels if label not in old.labels]
    kept = [
        label for label in old.labels if label in data.labels or not config.arguments.drop_labels
    ]
    classifier.initialize(None, nlp=nlp, labels=[*kept, *new])
    set_priors(classifier, data)
    classifier.initialize_from_classifier(old)
    warnings = []
    if new:
        warnings.append(f"{plural(len(new), 'label')} will be added: {enumeration(new)}")
    if missing:
        warnings.append(_describe_missing(missing, config))
    warnings += [
        f"{name} of the last training no longer {verb}: {old.cfg[name]}"
        for name, verb in (("class_weights", "apply"), ("focal_gamma", "applies"))
        if old.cfg[name] and not classifier.cfg[name]
    ]
    if data.unlabeled:
        warnings.append(unused("the existing classifier is trained further"))
    return ClassifierSetup(classifier, "training the existing classifier further", warnings)


def _describe_missing(labels: Sequence[str], config: TrainingConfig) -> str:
    """What becomes of the classifier's labels that no training text mentions."""
    subject, number = f"{plural(len(labels), 'label')} of the classifier", len(labels)
    if config.arguments.drop_labels:
        has = f"no training text has {agree(number, 'it', 'them')}"
        return f"{subject} will be removed, because {has}: {enumeration(labels)}"
    fate = agree(number, "stay as it is", "stay as they are")
    if config.exclusive:
        fate = "be trained as not applying"
    return (
        f"{subject} {agree(number, 'occurs', 'occur')} in no training text and will {fate}: "
        f"{enumeration(labels)} (--drop-labels removes {agree(number, 'it', 'them')})"
    )


def _classifier(nlp: Language) -> TransformersTextCategorizer | None:
    pipe = nlp.get_pipe(TEXTCAT) if TEXTCAT in nlp.pipe_names else None
    return pipe if isinstance(pipe, TransformersTextCategorizer) else None


def _balanced_weights(data: Data) -> dict[str, float]:
    """Weights inversely proportional to label counts; a label with the mean count has weight 1."""
    mean = sum(data.label_counts.values()) / len(data.labels)
    return {label: mean / max(count, 1) for label, count in data.label_counts.items()}


def describe_classifier(nlp: Language) -> str:
    """Describe a pipeline by its text classifier, as a phrase."""
    classifier = _classifier(nlp)
    if classifier is None:
        return "a pipeline without a text classifier"
    return f"a pipeline with a text classifier of {plural(len(classifier.labels), 'label')}"
