"""Prepares a pipeline's components for training."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.types import Floats2d

from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.self_training import SelfTraining, compare_self_training
from trfcli_pipeline.curation.separability import separability_warning
from trfcli_pipeline.data.batching import make_examples
from trfcli_pipeline.data.labels import complete_cats
from trfcli_pipeline.data.record_store import Selection
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import agree, enumeration, plural
from trfcli_pipeline.encoder.layer_depths import find_layers
from trfcli_pipeline.heads.initialization import set_output_weights
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.running import run_up_to
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.progress import phase, track
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.overrides import TEXTCAT
from trfcli_pipeline.training.size_rules import SMALL_TRAINING_SET

# Texts that are encoded at a time.
_CHUNK = 32
# Training texts that a probe is fitted to; of more, a random sample.
_MOST_PROBED = 10_000
# With fewer texts, which of two classifiers is ahead is due to chance.
_ENOUGH_TO_COMPARE = 100
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
    found, warnings = None, list[str]()
    starts_as_probe = config.starts_as_probe or (data.unlabeled and config.can_start_as_probe)
    probed, features = data, None
    if starts_as_probe:
        places = _draw(len(examples), config.data_seed)
        probed = replace(data, train=Selection(data.train, places))
        features = _features(classifier, _encoded_examples(nlp, examples, places))
    if features is not None and _ENOUGH_TO_COMPARE <= len(data.train) < SMALL_TRAINING_SET:
        warnings += filter(None, [_compare_with_words(classifier, config, data, features)])
    if data.unlabeled and features is not None:
        found = _self_train(nlp, classifier, config, probed, features)
    elif data.unlabeled:
        warnings.append(
            _unused(f"{config.classifier['architecture']} can't start as a linear probe")
        )
    if found is not None and found.helps:
        texts = plural(found.n_unlabeled, "unlabeled text")
        phrase += f", initialized by a linear probe that also learned from {texts}"
    elif config.starts_as_probe and features is not None:
        labeled = make_examples(nlp, probed.train, data.labels, exclusive=config.exclusive)
        classifier.initialize_from_probe(features, labeled)
        phrase += ", initialized by a linear probe"
    else:
        _set_priors(classifier, data)
    return ClassifierSetup(classifier, phrase, warnings, found)


def _compare_with_words(
    classifier: TransformersTextCategorizer, config: TrainingConfig, data: Data, features: Floats2d
) -> str | None:
    """A warning if the words alone say more about the labels than the encoder does."""
    gold = Gold.from_records(data.train, labels=data.labels, exclusive=config.exclusive)
    rows = classifier.model.ops.to_numpy(features)
    return separability_warning(_texts(data), rows / _mean_norm(rows), gold)


def _self_train(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    config: TrainingConfig,
    data: Data,
    features: Floats2d,
) -> SelfTraining:
    """See whether unlabeled texts help a linear probe; if so, it is the classifier's start."""
    ops = classifier.model.ops
    labeled = ops.to_numpy(features)
    unlabeled = ops.to_numpy(_features(classifier, _encode(nlp, data.unlabeled)))
    scale = _mean_norm(labeled)
    gold = Gold.from_records(data.train, labels=data.labels, exclusive=config.exclusive)
    with phase("Learning from the unlabeled texts"):
        found = compare_self_training(_texts(data), labeled / scale, gold, unlabeled / scale)
    if found.helps:
        probe = found.probe
        set_output_weights(classifier.model, W=probe.weights / scale, b=probe.bias)
    return found


def _texts(data: Data) -> list[str]:
    return [record.text for record in data.train]


def _mean_norm(rows: Features) -> float:
    """The scale of features; penalties are meant for a mean norm of 1."""
    return float(np.linalg.norm(rows, axis=1).mean()) or 1.0


def _unused(reason: str) -> str:
    return f"The unlabeled texts aren't used, because {reason}"


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
    _set_priors(classifier, data)
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
        warnings.append(_unused("the existing classifier is trained further"))
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


def _set_priors(classifier: TransformersTextCategorizer, data: Data) -> None:
    if not classifier.exclusive_classes:
        cats = (complete_cats(record, data.labels, exclusive=False) for record in data.train)
        classifier.initialize_from_priors(cats)


def _draw(number: int, seed: int) -> Sequence[int]:
    """Choose the training texts that a probe is fitted to, by their places."""
    if number <= _MOST_PROBED:
        return range(number)
    return sorted(random.Random(seed).sample(range(number), _MOST_PROBED))


def _features(classifier: TransformersTextCategorizer, encoded: Iterable[list[Doc]]) -> Floats2d:
    """The classifier's input for each text. *Shape:* (texts, width)"""
    layer = classifier.model.get_ref("features")
    return layer.ops.xp.concatenate([layer.predict(docs) for docs in encoded])


def _encoded_examples(
    nlp: Language, examples: Examples, places: Sequence[int]
) -> Iterator[list[Doc]]:
    """Docs of some examples with the encoder's output, a few at a time."""
    if not examples.encode:
        yield from _encode(nlp, Selection(examples.records, places))
        return
    for chunk in minibatch(places, _CHUNK):
        yield [example.predicted for example in examples.take(chunk)]


def _encode(nlp: Language, records: Sequence[Record]) -> Iterator[list[Doc]]:
    """Run a pipeline up to its encoder, on a few texts at a time."""
    texts = track(records, "Encoding the texts", total=len(records), unit="texts")
    for chunk in minibatch((record.text for record in texts), _CHUNK):
        yield run_up_to(nlp, "trf_tok2vec", [nlp.make_doc(text) for text in chunk])


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
