"""Fits when a trained classifier doesn't answer, and how it notices texts that belong to no label.

The dev texts are those by which a checkpoint and the thresholds of labels may have been chosen. So
what they say is a little optimistic; with the few choices that training makes, by very little.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from trfcli_pipeline.data.files import read_object
from trfcli_pipeline.data.outputs.manifest import META, update_meta
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.abstention import FEWEST_TEXTS, fit_abstention
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.heads.novelty import MOST_NEIGHBORS, Novelty
from trfcli_pipeline.pipeline.loading import load_pipeline, require_encoder
from trfcli_pipeline.pipeline.running import run_up_to
from trfcli_pipeline.pipeline.textcat import TransformersTextCategorizer
from trfcli_pipeline.pipeline.textcat_decisions import NOVELTY_FILE
from trfcli_pipeline.progress import track
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.overrides import TEXTCAT
from trfcli_pipeline.training.trainer import Trainer

Item = TypeVar("Item")

_TITLE = "Learning which texts are unusual"
_CHUNK = 256
# Dev texts by which is known what is usual.
_DEV_TEXTS = 1000


def learn_to_abstain(
    classifier: TransformersTextCategorizer, evaluation: Evaluation, config: TrainingConfig
) -> None:
    """Fit when a classifier doesn't answer to its predictions for the dev set.

    Nothing is fitted if that is too small, or if it doesn't tell about all labels.
    """
    fitted = None
    if {*evaluation.labels} == {*classifier.labels}:
        fitted = fit_abstention(evaluation.prediction, config.arguments.aim)
    classifier.fitted_abstention = fitted


def add_novelty(trainer: Trainer, path: Path) -> None:
    """Let a saved classifier notice texts that are unlike those it was trained on.

    Args:
        trainer: What trained the classifier.
        path: The pipeline that was kept. Its weights are also those of the trainer, unless earlier
            ones were better.
    """
    if len(trainer.dev_texts) < FEWEST_TEXTS:
        return
    nlp, is_last = trainer.nlp, trainer.state.best_step == trainer.state.step
    if not is_last:
        nlp = load_pipeline(str(path), device=trainer.config.arguments.device)
    classifier = cast(TransformersTextCategorizer, nlp.get_pipe(TEXTCAT))
    if classifier.fitted_abstention is None:
        return
    classifier.novelty = Novelty.fit(
        _training_features(trainer, nlp, classifier),
        *predict_features(nlp, classifier, _some(trainer.dev_texts, _DEV_TEXTS)),
        exclusive=classifier.exclusive_classes,
    )
    classifier.save_novelty(path / TEXTCAT)
    meta = read_object(path / META, PipelineError)
    update_meta(path, meta, added=[f"{TEXTCAT}/{NOVELTY_FILE}"])


def predict_features(
    nlp: Language, classifier: TransformersTextCategorizer, texts: Sequence[str]
) -> tuple[NDArray[np.float32], FloatArray]:
    """Return what the classifier reads of texts, and what it predicts for them.

    *Shapes:* (texts, width) and (texts, labels)
    """
    layer = classifier.model.get_ref("features")
    parts = [
        (layer.ops.to_numpy(layer.predict(docs)), layer.ops.to_numpy(classifier.predict(docs)))
        for docs in _encode(nlp, texts)
    ]
    features, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    return features, scores.astype(np.float64)


def _training_features(
    trainer: Trainer, nlp: Language, classifier: TransformersTextCategorizer
) -> NDArray[np.float32]:
    """What the classifier reads of training texts. *Shape:* (texts, width)"""
    chunks: Iterator[list[Doc]]
    places = _some(range(len(trainer.examples)), MOST_NEIGHBORS)
    if trainer.freeze_encoder:
        # Most Docs already have the encoder's output, which hasn't changed.
        examples = (trainer.examples.take(chunk) for chunk in minibatch(places, _CHUNK))
        chunks = ([example.predicted for example in chunk] for chunk in examples)
    else:
        records = trainer.examples.records
        chunks = _encode(nlp, [records[place].text for place in places])
    layer = classifier.model.get_ref("features")
    return np.concatenate([layer.ops.to_numpy(layer.predict(docs)) for docs in chunks])


def _encode(nlp: Language, texts: Sequence[str]) -> Iterator[list[Doc]]:
    """Run a pipeline up to its encoder, on some texts at a time."""
    last = require_encoder(nlp).name
    tracked = track(texts, _TITLE, total=len(texts), unit="texts")
    for chunk in minibatch(tracked, _CHUNK):
        yield run_up_to(nlp, last, [nlp.make_doc(text) for text in chunk])


def _some(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Return at most so many items, evenly spaced."""
    step = max(len(items) / most, 1.0)
    return [items[int(place * step)] for place in range(min(len(items), most))]
