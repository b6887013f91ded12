"""Makes of a pipeline one that predicts faster, and measures what that costs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import srsly
import torch
from packaging.requirements import Requirement
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import get_minor_version_range

from trfcli_pipeline import openvino_encoder
from trfcli_pipeline.components.tok2vec import TransformersTok2Vec, word_pieces
from trfcli_pipeline.corpus import Record, read_records
from trfcli_pipeline.encoders import Backend, Encoder, Inference, Precision, in_torch
from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.evaluation import (
    TEXT_CLASSIFIERS,
    Classifier,
    count_words,
    find_classifier,
    gold_cats,
)
from trfcli_pipeline.formats import STDIN
from trfcli_pipeline.formats.rows import LABEL_KEYS
from trfcli_pipeline.language import DISTRIBUTION
from trfcli_pipeline.padding import pad
from trfcli_pipeline.pipelines import (
    check_free,
    describe_encoder,
    directory_bytes,
    load_pipeline,
    require_encoder,
)
from trfcli_pipeline.saving import staged_directory
from trfcli_pipeline.scores import score_cats
from trfcli_pipeline.traits import pad_id

# In points, hundredths of the figure: of a score, and of the cosine of rows where there is none.
MAX_LOSS = {"accuracy": 0.5, "macro F": 0.5, "cosine": 1.0}

# More than these don't change the ranges of activations much.
_CALIBRATION_SEGMENTS = 300
_CALIBRATION_PIECES = 20_000
# What is measured on.
_TEXTS = 2000
# Texts that the two pipelines take in turn, so that both meet the same conditions.
_TURN = 128


@dataclass(frozen=True, slots=True)
class Started:
    """The first event: both files were read.

    Attributes:
        segments: Segments that int8 is calibrated on; 0 for other precisions.
        texts: Texts that are measured on, of `all_texts` that there are.
    """

    segments: int
    texts: int
    all_texts: int


@dataclass(slots=True)
class Figures:
    """What a pipeline does: its speed, in words a second, its size in bytes, its score.

    Words are tokens that aren't whitespace. The score is None where there are no labels.
    """

    speed: float
    size: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """The event before last: what came out.

    Attributes:
        cosine: Mean over the tokens: between the rows of `doc.tensor` before and after.
        loss: What was lost of `figure`, in points: hundredths.
        figure: "accuracy", "macro F" of labels that don't exclude each other, or "cosine".
    """

    before: Figures
    after: Figures
    cosine: float
    figure: str
    loss: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the pipeline is in its place. Its size in bytes, and its name."""

    name: str
    components: Sequence[str]
    size: int


Event = Started | Measured | Finished


def optimize(
    model: str,
    output: Path,
    calibrate: str,
    *,
    precision: Precision = "int8",
    backend: Backend = "openvino",
    dev: str | None = None,
    max_loss: float | None = None,
    force: bool = False,
) -> Iterator[Event]:
    """Make of a pipeline one whose encoder predicts faster, and save it.

    Everything else is as it was: components, attributes, alignment. It can't be trained.

    Args:
        model: Directory or name of a pipeline.
        output: The directory to make.
        calibrate: A data file of any format; "-" is JSONL on stdin. int8 fits the ranges of
            activations to these texts, and they are what speed and loss are measured on. Where
            they have labels, all of them the pipeline's, its score is.
        dev: Labelled texts to measure on instead.
        max_loss: Points (hundredths) that may be lost; by default as `MAX_LOSS` has it.
        force: Replace a pipeline that is there.

    Raises:
        PipelineError: The pipeline can't be optimized like that, or it loses too much. Then
            nothing is written.
        DataError, EncoderError, OutputError: Something can't be used.
    """
    if backend == "torch" and precision == "int8":
        raise PipelineError(
            "torch has no int8 that is worth its loss", hint="Use --backend openvino"
        )
    check_free(output, force=force)
    if Path(model).expanduser().resolve() == output.resolve():
        raise OutputError(
            f"{output}: is the pipeline itself, which can't be trained any further then",
            hint="Name another directory",
        )
    before, after = (load_pipeline(model, device="cpu") for _ in range(2))
    old, new = require_encoder(before), require_encoder(after)
    was = old.model.inference
    if was != Inference():
        raise PipelineError(
            f"{model}: was optimized already ({was.precision}, {was.backend})",
            hint="Optimize the pipeline that it was made of",
        )
    records = read_records(calibrate, labelled=False)
    texts = [record.text for record in records]
    if dev is not None:
        sample = _labelled_sample(find_classifier(before), dev, read_records(dev, labelled=True))
    elif (labelled := _read_labels(before, calibrate, records)) is not None:
        sample = _labelled_sample(find_classifier(before), calibrate, labelled)
    else:
        sample = _Sample(_evenly(texts, _TEXTS), len(texts))
    examples = _examples(before, old, texts) if precision == "int8" else []
    yield Started(len(examples), len(sample.texts), sample.of)

    inference = Inference(backend, precision)
    _replace_encoder(new, inference, examples)
    meta = after.meta
    meta.setdefault("trf", {})
    meta["trf"]["encoder"] = {**describe_encoder(old), **meta["trf"].get("encoder", {})}
    if backend == "openvino":
        _require_extra(meta, "openvino")
    with staged_directory(output) as staging:
        after.to_disk(staging)
        measured = _measure(before, load_pipeline(str(staging), device="cpu"), sample)
        yield measured
        allowed = MAX_LOSS[measured.figure] if max_loss is None else max_loss
        # Said so that it holds for NaN, too.
        if not measured.loss <= allowed:
            raise PipelineError(
                f"{precision} costs {measured.loss:.2f} points of {measured.figure}, more than "
                f"{allowed:g}; nothing was written",
                hint="Allow more with --max-loss, or use another --precision",
            )
        meta["trf"]["inference"] = {
            **asdict(inference),
            "texts": len(sample.texts),
            "figure": measured.figure,
            "loss": measured.loss,
            "cosine": measured.cosine,
        }
        srsly.write_json(staging / "meta.json", meta)
    yield Finished(f"{meta['lang']}_{meta['name']}", after.pipe_names, directory_bytes(output))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Texts to measure on, of how many there are; with labels if the classifier knows them."""

    texts: Sequence[str]
    of: int
    gold: Sequence[Mapping[str, float]] = ()
    classifier: Classifier | None = None

    def score(self, cats: Sequence[Mapping[str, float]]) -> float | None:
        if self.classifier is None:
            return None
        _, labels, exclusive, threshold = self.classifier
        found = score_cats(self.gold, cats, labels, exclusive=exclusive, threshold=threshold)
        return found.accuracy if exclusive else found.macro_f

    @property
    def figure(self) -> str:
        if self.classifier is None:
            return "cosine"
        return "accuracy" if self.classifier.exclusive else "macro F"


def _labelled_sample(classifier: Classifier, path: str, records: Sequence[Record]) -> _Sample:
    gold = gold_cats(records, classifier, name=path)
    texts = [record.text for record in records]
    return _Sample(_evenly(texts, _TEXTS), len(texts), _evenly(gold, _TEXTS), classifier)


def _read_labels(nlp: Language, path: str, records: Sequence[Record]) -> list[Record] | None:
    """The records with their labels, if all have some and the pipeline's classifier knows them."""
    factories = {nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    if path == STDIN or not factories & {*TEXT_CLASSIFIERS}:
        return None
    if not all(record.extra.keys() & {*LABEL_KEYS} for record in records):
        return None
    known = {*find_classifier(nlp).labels}
    labelled = read_records(path, labelled=True)
    return labelled if all(record.labels <= known for record in labelled) else None


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """As many of the items, from all over them."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), most)).astype(int)
    return [items[index] for index in chosen]


def _examples(
    nlp: Language, encoder: TransformersTok2Vec, texts: Sequence[str]
) -> list[dict[str, torch.Tensor]]:
    """The encoder's input for some segments of the texts, each a row without padding."""
    ahead = nlp.pipe_names[: nlp.pipe_names.index(encoder.name)]
    with nlp.select_pipes(enable=ahead):
        X = word_pieces(list(nlp.pipe(_evenly(texts, _CALIBRATION_SEGMENTS))))
    filled = _evenly(np.flatnonzero(X.lengths).tolist(), _CALIBRATION_SEGMENTS)
    # At least one, however long it is.
    n_chosen = int(np.searchsorted(np.cumsum(X.lengths[filled]), _CALIBRATION_PIECES)) + 1
    padding = pad_id(encoder.model.module)
    device = torch.device("cpu")
    return [pad(X, np.array([row]), padding, device).inputs for row in filled[:n_chosen]]


def _replace_encoder(
    component: TransformersTok2Vec,
    inference: Inference,
    examples: Sequence[Mapping[str, torch.Tensor]],
) -> None:
    model = component.model
    encoder = model.encoder
    if inference.backend == "torch":
        model.encoder = in_torch(encoder, inference.precision)
        return
    if model.all_attentions:
        raise PipelineError(
            "OpenVINO gives no attentions, and the pipeline is to keep them",
            hint="Set all_attentions = false in the config of trf_tok2vec",
        )
    module = openvino_encoder.convert(
        encoder.module,
        encoder.traits,
        inference.precision,
        all_hidden_states=model.all_hidden_states,
        examples=examples,
    )
    traits = replace(encoder.traits, arguments=frozenset(module.input_names))
    model.encoder = Encoder(module, traits, inference)


def _measure(before: Language, after: Language, sample: _Sample) -> Measured:
    sides = (_Side(before), _Side(after))
    cosines: list[np.ndarray] = []
    for side in sides:
        # What is done at the first call isn't speed.
        list(side.nlp.pipe(sample.texts[:8]))
    for start in range(0, len(sample.texts), _TURN):
        texts = sample.texts[start : start + _TURN]
        old, new = (side.run(texts) for side in sides)
        cosines += [_cosines(a.tensor, b.tensor) for a, b in zip(old, new, strict=True)]
    cosine = float(np.concatenate(cosines).mean())
    was, now = (side.figures(sample) for side in sides)
    loss = 1 - cosine if was.score is None or now.score is None else was.score - now.score
    return Measured(was, now, cosine=cosine, figure=sample.figure, loss=100 * loss)


class _Side:
    """A pipeline, and what it has done so far."""

    def __init__(self, nlp: Language) -> None:
        self.nlp = nlp
        self.words = 0
        self.seconds = 0.0
        self.cats: list[dict[str, float]] = []

    def run(self, texts: Sequence[str]) -> list[Doc]:
        start = time.perf_counter()
        docs = list(self.nlp.pipe(texts))
        self.seconds += time.perf_counter() - start
        self.words += sum(map(count_words, docs))
        self.cats += [dict(doc.cats) for doc in docs]
        return docs

    def figures(self, sample: _Sample) -> Figures:
        size = directory_bytes(self.nlp.path)
        return Figures(self.words / self.seconds, size, sample.score(self.cats))


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between rows; 1 between rows of zeros, as tokens past the encoder's maximum have.

    *Shapes:* (tokens, width) twice to (tokens,)
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    product, norms = (a * b).sum(axis=1), np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(norms > 0, product / np.where(norms > 0, norms, 1), (a == b).all(axis=1))


def _require_extra(meta: dict[str, Any], extra: str) -> None:
    """List this package among the requirements, with an extra."""
    requirements = [Requirement(each) for each in meta.get("requirements", [])]
    own = next((each for each in requirements if each.name == DISTRIBUTION), None)
    if own is None:
        version = get_minor_version_range(metadata.version(DISTRIBUTION))
        own = Requirement(f"{DISTRIBUTION}{version}")
        requirements.append(own)
    own.extras.add(extra)
    meta["requirements"] = [str(each) for each in requirements]
