"""Quantize a pipeline's encoder for faster inference on a CPU."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from packaging.requirements import Requirement
from spacy.language import Language
from spacy.util import get_minor_version_range

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.outputs.directories import OutputDirectory, open_directory
from trfcli_pipeline.data.outputs.manifest import update_meta
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.encoder.backends import Backend, Encoder, InferenceConfig, cast_weights
from trfcli_pipeline.encoder.capabilities import pad_id
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.encoder.padding import pad
from trfcli_pipeline.encoder.precision import InferencePrecision
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import (
    check_pipeline,
    describe_encoder,
    load_pipeline,
    require_encoder,
)
from trfcli_pipeline.pipeline.saved import PIPELINE, locate_pipeline
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.before_after import Compared, choose_sample, compare_pipelines, evenly

__all__ = ["MAX_LOSS", "Compared", "OptimizationEvent", "Sampled", "Saved", "optimize"]

# In points: hundredths of the score, or of the cosine where texts have no labels.
MAX_LOSS = {"accuracy": 0.5, "macro F": 0.5, "cosine": 1.0}

# More segments hardly change the ranges of activations.
_CALIBRATION_SEGMENTS = 300
_CALIBRATION_PIECES = 20_000


@dataclass(frozen=True, slots=True)
class Sampled:
    """The first event: the texts to calibrate and compare on were chosen.

    Attributes:
        segments: Number of segments to calibrate int8 on; 0 for other precisions.
        texts: Number of texts to compare on, out of `all_texts`.
    """

    segments: int
    texts: int
    all_texts: int


@dataclass(frozen=True, slots=True)
class Saved:
    """The last event: the optimized pipeline was saved.

    Attributes:
        name: Full name of the pipeline, with its language.
        components: Names of its components.
        size: Its size in bytes.
    """

    name: str
    components: Sequence[str]
    size: int


OptimizationEvent = Sampled | Compared | Saved


def optimize(
    model: str,
    output: Path,
    calibrate: DataSource,
    *,
    precision: InferencePrecision = "int8",
    backend: Backend = "openvino",
    dev: DataSource | None = None,
    max_loss: float | None = None,
    force: bool = False,
) -> Generator[OptimizationEvent, None, None]:
    """Replace a pipeline's encoder with a faster one. Save it only if it is still accurate.

    Components, attributes and alignment stay the same. The optimized pipeline can't be trained.

    Args:
        model: Directory or name of a pipeline.
        output: The directory to save to.
        calibrate: A data file of any format; "-" is JSONL on stdin. int8 fits the ranges of
            activations to these texts. Without `dev`, they are also what the two pipelines are
            compared on: by their score if the classifier knows all labels of the file, else by the
            cosine of their vectors.
        precision: Number format of the encoder's weights and activations.
        backend: Library that runs the encoder.
        dev: Labeled texts to compare on instead.
        max_loss: Highest acceptable drop of score or cosine in points (hundredths), by default
            `MAX_LOSS`.
        force: Replace an existing pipeline. Other files in its directory stay.

    Raises:
        PipelineError: The pipeline can't be optimized with these options, or it lost too much.
            Nothing is written then.
        DataError: A record can't be read, or its labels don't fit the classifier.
        OutputError: The output exists and `force` isn't set, or it can't be written.
    """
    if backend == "torch" and precision == "int8":
        raise PipelineError("int8 needs the OpenVINO backend", hint="Use --backend openvino")
    with open_directory(
        output, PIPELINE, force=force, models=[model], data=[calibrate, dev]
    ) as claim:
        yield from _optimize(model, claim, calibrate, dev, backend, precision, max_loss)


def _optimize(
    model: str,
    claim: OutputDirectory,
    calibrate: DataSource,
    dev: DataSource | None,
    backend: Backend,
    precision: InferencePrecision,
    max_loss: float | None,
) -> Iterator[OptimizationEvent]:
    check_pipeline(model)
    claim.check_room(directory_bytes(locate_pipeline(model)))
    records = read_records(calibrate, labeled=False)
    before, after = (load_pipeline(model, device="cpu") for _ in range(2))
    old, new = require_encoder(before), require_encoder(after)
    was = old.model.shim.inference
    if was != InferenceConfig():
        raise PipelineError(
            f"{model}: is already optimized ({was.precision}, {was.backend})",
            hint="Optimize the original pipeline",
        )
    with phase("Choosing texts"):
        sample = choose_sample(before, calibrate, records, dev)
        examples = _examples(before, old, records) if precision == "int8" else []
    yield Sampled(len(examples), len(sample.texts), sample.total)

    inference = InferenceConfig(backend, precision)
    with phase(f"Converting the encoder to {precision}"):
        _replace_encoder(new, inference, examples)
    meta = after.meta
    meta.setdefault("trf", {})
    meta["trf"]["encoder"] = {**describe_encoder(old), **meta["trf"].get("encoder", {})}
    if backend == "openvino":
        _require_extra(meta, "openvino")
    with claim.staged() as staging:
        with phase(f"Saving {claim.target.name}"):
            after.to_disk(staging)
        compared = compare_pipelines(before, load_pipeline(str(staging), device="cpu"), sample)
        yield compared
        allowed = MAX_LOSS[compared.metric] if max_loss is None else max_loss
        # `not <=` in place of `>`, to refuse NaN too.
        if not compared.loss <= allowed:
            raise PipelineError(
                f"{precision} lowers {compared.metric} by {compared.loss:.2f} points, "
                f"more than the {allowed:g} allowed; nothing was written",
                hint="Raise --max-loss, or use another --precision",
            )
        meta["trf"]["inference"] = {
            **asdict(inference),
            "texts": len(sample.texts),
            "figure": compared.metric,
            "loss": compared.loss,
            "cosine": compared.cosine,
        }
        update_meta(staging, meta)
    yield Saved(f"{meta['lang']}_{meta['name']}", after.pipe_names, directory_bytes(claim.target))


def _examples(
    nlp: Language, encoder: TransformersTok2Vec, records: Sequence[Record]
) -> list[dict[str, torch.Tensor]]:
    """Choose segments of the texts, and return the encoder's input for each, without padding."""
    texts = [record.text for record in evenly(records, _CALIBRATION_SEGMENTS)]
    before = nlp.pipe_names[: nlp.pipe_names.index(encoder.name)]
    with nlp.select_pipes(enable=before):
        X = word_pieces(list(nlp.pipe(texts)))
    filled = evenly(np.flatnonzero(X.lengths).tolist(), _CALIBRATION_SEGMENTS)
    # Take at least one segment, even if it is too long.
    n_chosen = int(np.searchsorted(np.cumsum(X.lengths[filled]), _CALIBRATION_PIECES)) + 1
    padding = pad_id(encoder.model.shim.module)
    return [pad(X, np.array([row]), padding).inputs for row in filled[:n_chosen]]


def _replace_encoder(
    component: TransformersTok2Vec,
    inference: InferenceConfig,
    examples: Sequence[Mapping[str, torch.Tensor]],
) -> None:
    shim = component.model.shim
    encoder = shim.encoder
    if inference.backend == "torch":
        shim.encoder = cast_weights(encoder, inference.precision)
        return
    if shim.all_attentions:
        raise PipelineError(
            "OpenVINO can't return attentions, and the pipeline keeps them",
            hint="Set all_attentions = false in the config of trf_tok2vec",
        )
    module = convert(
        encoder.module,
        encoder.capabilities,
        inference.precision,
        all_hidden_states=shim.all_hidden_states,
        examples=examples,
    )
    capabilities = replace(encoder.capabilities, arguments=frozenset(module.input_names))
    shim.encoder = Encoder(module, capabilities, inference)


def _require_extra(meta: dict[str, Any], extra: str) -> None:
    """Add an extra of this package to the requirements."""
    requirements = [Requirement(each) for each in meta.get("requirements", [])]
    own = next((each for each in requirements if each.name == DISTRIBUTION), None)
    if own is None:
        version = get_minor_version_range(metadata.version(DISTRIBUTION))
        own = Requirement(f"{DISTRIBUTION}{version}")
        requirements.append(own)
    own.extras.add(extra)
    meta["requirements"] = [str(each) for each in requirements]
