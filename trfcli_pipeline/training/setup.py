"""Prepares a pipeline's components for training."""

from dataclasses import asdict, replace
from typing import cast

from spacy.language import Language
from spacy.util import minibatch
from thinc.types import Floats2d

from trfcli_pipeline.data.batching import make_examples
from trfcli_pipeline.data.labels import complete_cats
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.encoder.layer_depths import find_layers
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.examples import run_up_to
from trfcli_pipeline.training.overrides import TEXTCAT

# Texts that are encoded at a time.
_CHUNK = 32


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


def set_up_classifier(
    nlp: Language, config: TrainingConfig, data: Data
) -> tuple[TransformersTextCategorizer, str]:
    """Give the pipeline a classifier with the labels of the data.

    An existing classifier is trained further if it has the same labels and settings; otherwise a
    new one takes its place.

    Returns: The classifier, and what was done, as a phrase.
    """
    wanted = config.classifier
    factory = wanted.pop("factory")
    if config.arguments.balance:
        wanted["class_weights"] = _balanced_weights(data)
    phrase = "new classifier"
    old = _classifier(nlp)
    if old is not None:
        if (
            set(old.labels) == set(data.labels)
            and old.exclusive_classes == config.exclusive
            and all(old.cfg.get(name) == value for name, value in wanted.items())
        ):
            return old, "training the existing classifier further"
        phrase = "new classifier, replacing one with different labels or settings"
        nlp.remove_pipe(TEXTCAT)
    nlp.add_pipe(factory, name=TEXTCAT, config=wanted)
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    classifier.initialize(None, nlp=nlp, labels=data.labels)
    if config.starts_as_probe:
        examples = make_examples(nlp, data.train, data.labels, exclusive=config.exclusive)
        classifier.initialize_from_probe(_features(nlp, classifier, data), examples)
        phrase += ", initialized by a linear probe"
    elif not config.exclusive:
        cats = (complete_cats(record, data.labels, config.exclusive) for record in data.train)
        classifier.initialize_from_priors(cats)
    return classifier, phrase


def _features(nlp: Language, classifier: TransformersTextCategorizer, data: Data) -> Floats2d:
    """The classifier's input for each training text. *Shape:* (texts, width)"""
    layer = classifier.model.get_ref("features")
    found = []
    for chunk in minibatch(data.train, _CHUNK):
        docs = run_up_to(nlp, "trf_tok2vec", [nlp.make_doc(record.text) for record in chunk])
        found.append(layer.predict(docs))
    return layer.ops.xp.concatenate(found)


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
