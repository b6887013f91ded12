"""Makes a pipeline and its texts ready for training."""

from collections import Counter
from dataclasses import asdict, replace
from typing import cast

from spacy.language import Language
from spacy.util import minibatch
from thinc.types import Floats2d

from trfcli_pipeline.data.batching import make_examples
from trfcli_pipeline.data.labels import complete_cats
from trfcli_pipeline.encoder.layer_depths import find_layers
from trfcli_pipeline.pipeline.components import require_component
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.pipeline.wordpiecer import TransformersWordPiecer
from trfcli_pipeline.training.config import TEXTCAT, TrainingConfig
from trfcli_pipeline.training.data import Data
from trfcli_pipeline.training.examples import run_up_to

# Texts whose activations are in memory together.
_CHUNK = 32


def prepare_encoder(encoder: TransformersTok2Vec, recipe: TrainingConfig) -> list[str]:
    """Settle how the encoder is trained. Returns what is beyond plain fine-tuning, as phrases."""
    settings, shim = recipe.settings, encoder.model.shim
    methods = []
    if not settings.freeze_encoder:
        shim.prepare_training(
            freeze_layers=settings.freeze_layers,
            lora_rank=settings.lora,
            # The pipeline's own unless something else is asked for.
            precision=None if settings.precision == "auto" else settings.precision,
        )
        if settings.freeze_layers:
            number = len(find_layers(shim.module))
            methods.append(f"lowest {settings.freeze_layers} of {number} layers frozen")
        if recipe.layer_decay != 1:
            find_layers(shim.module)
            methods.append(f"layer decay {recipe.layer_decay:g}")
        if settings.lora:
            trained = sum(each.numel() for each in shim.gradients.weights)
            methods.append(f"LoRA of rank {settings.lora}, {trained:,} weights")
    if recipe.averages:
        methods.append("averaged weights")
    return methods


def set_segments(nlp: Language, recipe: TrainingConfig) -> str:
    """Have texts divided as the recipe says. Returns what a segment is, as a phrase."""
    wordpiecer = require_component(nlp, TransformersWordPiecer)
    wordpiecer.settings = replace(wordpiecer.settings, **recipe.segmentation)
    nlp.get_pipe_config(wordpiecer.name).update(asdict(wordpiecer.settings))
    match wordpiecer.settings.segments:
        case "windows":
            return f"sentences together, up to {wordpiecer.max_length} wordpieces"
        case "doc":
            return "whole texts"
    return "single sentences"


def set_classifier(
    nlp: Language, recipe: TrainingConfig, data: Data
) -> tuple[TransformersTextCategorizer, str]:
    """Give the pipeline a classifier for these labels. Also returns what was done, as a phrase."""
    wanted = recipe.classifier
    factory = wanted.pop("factory")
    if recipe.settings.balance:
        wanted["class_weights"] = _balanced_weights(data)
    phrase = "new classifier"
    old = _classifier(nlp)
    if old is not None:
        if (
            set(old.labels) == set(data.labels)
            and old.exclusive_classes == recipe.exclusive
            and all(old.cfg.get(name) == value for name, value in wanted.items())
        ):
            return old, "continues with the pipeline's classifier"
        phrase = "new classifier in place of one with other labels or settings"
        nlp.remove_pipe(TEXTCAT)
    nlp.add_pipe(factory, name=TEXTCAT, config=wanted)
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    classifier.initialize(None, nlp=nlp, labels=data.labels)
    if recipe.starts_at_probe:
        examples = make_examples(nlp, data.train, data.labels, exclusive=recipe.exclusive)
        classifier.initialize_from_probe(_features(nlp, classifier, data), examples)
        phrase += ", first fitted to the encoder as it is"
    elif not recipe.exclusive:
        cats = (complete_cats(record, data.labels, recipe.exclusive) for record in data.train)
        classifier.initialize_from_priors(cats)
    return classifier, phrase


def _features(nlp: Language, classifier: TransformersTextCategorizer, data: Data) -> Floats2d:
    """What the classifier reads off the texts' Docs, a few of them at a time."""
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
    """One over the label's share, scaled so that a label of the mean share has weight 1."""
    counts = Counter(label for record in data.train for label in record.labels)
    mean = sum(counts.values()) / len(data.labels)
    return {label: mean / max(counts[label], 1) for label in data.labels}


def describe_classifier(nlp: Language) -> str:
    classifier = _classifier(nlp)
    if classifier is None:
        return "pipeline without a text classifier"
    return f"pipeline with a text classifier of {len(classifier.labels)} labels"
