"""The first weights of a new classifier: a linear probe of the encoder, or label priors."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

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
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.heads.initialization import set_output_weights
from trfcli_pipeline.pipeline.running import run_up_to
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.progress import phase, track
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.examples import Examples
from trfcli_pipeline.training.size_rules import SMALL_TRAINING_SET

# Texts that are encoded at a time.
_CHUNK = 32
# Training texts that a probe is fitted to; of more, a random sample.
_MOST_PROBED = 10_000
# With fewer texts, which of two classifiers is ahead is due to chance.
_ENOUGH_TO_COMPARE = 100


class ClassifierStart(NamedTuple):
    """Where the weights of a new classifier come from.

    Attributes:
        phrase: What they are initialized by, as a phrase; empty if it isn't worth saying.
        warnings: What to know about them, as sentences.
        self_training: Whether unlabeled texts help; None if there are none.
    """

    phrase: str
    warnings: Sequence[str]
    self_training: SelfTraining | None


def start_classifier(
    nlp: Language,
    classifier: TransformersTextCategorizer,
    config: TrainingConfig,
    data: Data,
    examples: Examples,
) -> ClassifierStart:
    """Set the first weights of a new classifier: those of a linear probe, or else label priors.

    Args:
        nlp: The pipeline with the classifier, which has its labels.
        examples: The training texts of the data.
    """
    phrase, found, warnings = "", None, list[str]()
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
            unused(f"{config.classifier['architecture']} can't start as a linear probe")
        )
    if found is not None and found.helps:
        texts = plural(found.n_unlabeled, "unlabeled text")
        phrase = f"initialized by a linear probe that also learned from {texts}"
    elif config.starts_as_probe and features is not None:
        labeled = make_examples(nlp, probed.train, data.labels, exclusive=config.exclusive)
        classifier.initialize_from_probe(features, labeled)
        phrase = "initialized by a linear probe"
    else:
        set_priors(classifier, data)
    return ClassifierStart(phrase, warnings, found)


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


def unused(reason: str) -> str:
    """A sentence that says why unlabeled texts don't count."""
    return f"The unlabeled texts aren't used, because {reason}"


def set_priors(classifier: TransformersTextCategorizer, data: Data) -> None:
    """Let a multi-label classifier predict how common each label is, whatever the text."""
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
