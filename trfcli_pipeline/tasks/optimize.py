"""Makes of a pipeline one that predicts faster, and measures what that costs."""

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
from spacy.util import get_minor_version_range

from trfcli_pipeline.data.atomic import staged_directory
from trfcli_pipeline.data.files import directory_bytes
from trfcli_pipeline.data.records import Record, read_records
from trfcli_pipeline.encoder.backends import Backend, Encoder, InferenceConfig, cast_weights
from trfcli_pipeline.encoder.capabilities import pad_id
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.encoder.padding import pad
from trfcli_pipeline.encoder.precision import InferencePrecision
from trfcli_pipeline.errors import OutputError, PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import (
    check_free,
    describe_encoder,
    load_pipeline,
    require_encoder,
)
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.tasks.measuring import Measured, choose_sample, evenly, measure

__all__ = ["MAX_LOSS", "Event", "Finished", "Measured", "Started", "optimize"]

# In points, hundredths of the figure: of a score, and of the cosine of rows where there is none.
MAX_LOSS = {"accuracy": 0.5, "macro F": 0.5, "cosine": 1.0}

# More than these don't change the ranges of activations much.
_CALIBRATION_SEGMENTS = 300
_CALIBRATION_PIECES = 20_000


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
    precision: InferencePrecision = "int8",
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
    was = old.model.shim.inference
    if was != InferenceConfig():
        raise PipelineError(
            f"{model}: was optimized already ({was.precision}, {was.backend})",
            hint="Optimize the pipeline that it was made of",
        )
    records = read_records(calibrate, labelled=False)
    sample = choose_sample(before, calibrate, records, dev)
    examples = _examples(before, old, records) if precision == "int8" else []
    yield Started(len(examples), len(sample.texts), sample.of)

    inference = InferenceConfig(backend, precision)
    _replace_encoder(new, inference, examples)
    meta = after.meta
    meta.setdefault("trf", {})
    meta["trf"]["encoder"] = {**describe_encoder(old), **meta["trf"].get("encoder", {})}
    if backend == "openvino":
        _require_extra(meta, "openvino")
    with staged_directory(output) as staging:
        after.to_disk(staging)
        measured = measure(before, load_pipeline(str(staging), device="cpu"), sample)
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


def _examples(
    nlp: Language, encoder: TransformersTok2Vec, records: Sequence[Record]
) -> list[dict[str, torch.Tensor]]:
    """The encoder's input for some segments of the texts, each a row without padding."""
    texts = [record.text for record in evenly(records, _CALIBRATION_SEGMENTS)]
    ahead = nlp.pipe_names[: nlp.pipe_names.index(encoder.name)]
    with nlp.select_pipes(enable=ahead):
        X = word_pieces(list(nlp.pipe(texts)))
    filled = evenly(np.flatnonzero(X.lengths).tolist(), _CALIBRATION_SEGMENTS)
    # At least one, however long it is.
    n_chosen = int(np.searchsorted(np.cumsum(X.lengths[filled]), _CALIBRATION_PIECES)) + 1
    padding = pad_id(encoder.model.shim.module)
    device = torch.device("cpu")
    return [pad(X, np.array([row]), padding, device).inputs for row in filled[:n_chosen]]


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
            "OpenVINO gives no attentions, and the pipeline is to keep them",
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
    """List this package among the requirements, with an extra."""
    requirements = [Requirement(each) for each in meta.get("requirements", [])]
    own = next((each for each in requirements if each.name == DISTRIBUTION), None)
    if own is None:
        version = get_minor_version_range(metadata.version(DISTRIBUTION))
        own = Requirement(f"{DISTRIBUTION}{version}")
        requirements.append(own)
    own.extras.add(extra)
    meta["requirements"] = [str(each) for each in requirements]
