"""Make a pipeline's encoder faster for inference."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from packaging.requirements import Requirement
from spacy.util import get_minor_version_range

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.data.files import directory_bytes, read_object
from trfcli_pipeline.data.outputs.directories import OutputDirectory, open_directory
from trfcli_pipeline.data.outputs.manifest import META, update_meta
from trfcli_pipeline.data.outputs.staging import workspace_beside
from trfcli_pipeline.data.reading import read_records
from trfcli_pipeline.encoder.backends import Backend, InferenceConfig
from trfcli_pipeline.encoder.devices import describe_device
from trfcli_pipeline.encoder.precision import InferencePrecision
from trfcli_pipeline.errors import EncoderError, NonFiniteError, PipelineError
from trfcli_pipeline.pipeline.language import DISTRIBUTION
from trfcli_pipeline.pipeline.loading import (
    check_pipeline,
    describe_encoder,
    load_pipeline,
    require_encoder,
)
from trfcli_pipeline.pipeline.saved import PIPELINE, locate_pipeline
from trfcli_pipeline.progress import phase
from trfcli_pipeline.tasks.before_after import Compared, choose_sample, compare_pipelines
from trfcli_pipeline.tasks.faster_encoders import (
    calibration_examples,
    choose_device,
    find_candidates,
    replace_encoder,
)

__all__ = [
    "ENOUGH_TEXTS",
    "MAX_LOSS",
    "Decided",
    "OptimizationEvent",
    "Sampled",
    "Saved",
    "Tried",
    "optimize",
]

# With fewer texts to compare on, a loss may be due to chance.
ENOUGH_TEXTS = 100
# In points: hundredths of the score, or of the cosine where texts have no labels.
MAX_LOSS = {"accuracy": 0.5, "macro F": 0.5, "cosine": 1.0}


@dataclass(frozen=True, slots=True)
class Sampled:
    """The first event: the texts and what to try were chosen.

    Attributes:
        segments: Number of segments to calibrate int8 on; 0 if int8 isn't tried.
        texts: Number of texts to compare on, out of `all_texts`.
        device: The device that speed is measured on, as a phrase.
        candidates: The precisions and backends to try.
        unknown_labels: Labels of the texts that the classifier doesn't know, so that the texts
            are used without labels.
    """

    segments: int
    texts: int
    all_texts: int
    device: str
    candidates: Sequence[InferenceConfig]
    unknown_labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """A precision and backend were tried.

    Attributes:
        compared: Metrics of the pipeline before and after; None if it can't run like this.
        problem: Why it can't run like this.
    """

    inference: InferenceConfig
    compared: Compared | None = None
    problem: str | None = None

    def is_acceptable(self, max_loss: float | None) -> bool:
        """Whether the loss is at most `max_loss` points, or the one in `MAX_LOSS`."""
        if self.compared is None:
            return False
        # `<=` refuses NaN too.
        return self.compared.loss <= _allowed(self.compared.metric, max_loss)


@dataclass(frozen=True, slots=True)
class Decided:
    """All were tried.

    Attributes:
        chosen: The one to save; None if none is fast and accurate enough.
    """

    tried: Sequence[Tried]
    chosen: Tried | None


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


OptimizationEvent = Sampled | Tried | Decided | Saved


def optimize(
    model: str,
    output: Path,
    calibrate: DataSource,
    *,
    precision: InferencePrecision | Literal["auto"] = "auto",
    backend: Backend | None = None,
    device: str = "auto",
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
            activations to these texts. Without `dev`, they are also what the pipelines are
            compared on: by their score if the classifier knows all labels of the file, else by the
            cosine of their vectors.
        precision: Number format of the encoder's weights and activations; "auto" for the fastest
            of those that the device supports and whose loss is acceptable.
        backend: Library that runs the encoder; None for the fastest.
        device: The device to optimize for, and to measure on.
        dev: Labeled texts to compare on instead.
        max_loss: Highest acceptable drop of score or cosine in points (hundredths), by default
            `MAX_LOSS`.
        force: Replace an existing pipeline. Other files in its directory stay.

    Raises:
        PipelineError: The pipeline can't be optimized with these options, lost too much, or, with
            "auto", got no faster. Nothing is written then.
        DeviceError: There is no such device.
        DataError: A record can't be read, or its labels don't fit the classifier.
        OutputError: The output exists and `force` isn't set, or it can't be written.
    """
    place = choose_device(device, precision, backend)
    candidates = find_candidates(place, precision, backend)
    # A pipeline for OpenVINO can't be loaded on a GPU; with "auto", it isn't.
    name = device if device == "auto" and place.type != "cpu" else str(place)
    with open_directory(
        output, PIPELINE, force=force, models=[model], data=[calibrate, dev]
    ) as claim:
        yield from _optimize(
            model, claim, calibrate, dev, name, candidates, max_loss, precision == "auto"
        )


def _optimize(
    model: str,
    claim: OutputDirectory,
    calibrate: DataSource,
    dev: DataSource | None,
    device: str,
    candidates: Sequence[InferenceConfig],
    max_loss: float | None,
    is_auto: bool,
) -> Iterator[OptimizationEvent]:
    check_pipeline(model)
    # Room for all candidates: only the best one stays.
    claim.check_room(len(candidates) * directory_bytes(locate_pipeline(model)))
    records = read_records(calibrate, labeled=False)
    before = load_pipeline(model, device=device)
    encoder = require_encoder(before)
    was = encoder.model.shim.inference
    if not was.is_trainable:
        raise PipelineError(
            f"{model}: is already optimized ({was.precision}, {was.backend})",
            hint="Optimize the original pipeline",
        )
    has_int8 = any(each.precision == "int8" for each in candidates)
    with phase("Choosing texts"):
        sample = choose_sample(before, calibrate, records, dev)
        examples = calibration_examples(before, encoder, records) if has_int8 else []
    phrase = describe_device(encoder.model.shim.device)
    yield Sampled(
        len(examples), len(sample.texts), sample.total, phrase, candidates, sample.unknown_labels
    )

    with workspace_beside(claim.target) as workspace:
        tried = []
        for number, inference in enumerate(candidates):
            try:
                _save(model, device, inference, examples, workspace / str(number))
                after = load_pipeline(str(workspace / str(number)), device=device)
                tried.append(Tried(inference, compare_pipelines(before, after, sample)))
            except (EncoderError, NonFiniteError, PipelineError) as error:
                if not is_auto:
                    raise
                tried.append(Tried(inference, problem=error.message))
            yield tried[-1]
        chosen = _choose(tried, max_loss, is_auto=is_auto)
        yield Decided(tried, chosen)
        if chosen is None or chosen.compared is None:
            raise _explain_refusal(tried, max_loss)
        with claim.staged() as staging:
            for entry in (workspace / str(tried.index(chosen))).iterdir():
                entry.rename(staging / entry.name)
            meta = read_object(staging / META, PipelineError)
            meta["trf"]["inference"] = {
                **asdict(chosen.inference),
                "texts": len(sample.texts),
                "figure": chosen.compared.metric,
                "loss": chosen.compared.loss,
                "cosine": chosen.compared.cosine,
            }
            update_meta(staging, meta)
    name = f"{meta['lang']}_{meta['name']}"
    yield Saved(name, before.pipe_names, directory_bytes(claim.target))


def _save(
    model: str,
    device: str,
    inference: InferenceConfig,
    examples: Sequence[Mapping[str, torch.Tensor]],
    path: Path,
) -> None:
    """Save a copy of a pipeline with a faster encoder."""
    nlp = load_pipeline(model, device=device)
    encoder = require_encoder(nlp)
    nlp.meta.setdefault("trf", {})
    known = nlp.meta["trf"].get("encoder", {})
    nlp.meta["trf"]["encoder"] = {**describe_encoder(encoder), **known}
    with phase(f"Converting the encoder to {inference}"):
        replace_encoder(encoder, inference, examples)
        if inference.backend == "openvino":
            _require_extra(nlp.meta, "openvino")
        nlp.to_disk(path)


def _choose(tried: Sequence[Tried], max_loss: float | None, *, is_auto: bool) -> Tried | None:
    """The fastest whose loss is acceptable; with "auto", only if it is faster than the original."""
    acceptable = [each for each in tried if each.is_acceptable(max_loss)]
    best = max(acceptable, key=_speedup, default=None)
    return None if best is not None and is_auto and _speedup(best) <= 1 else best


def _speedup(tried: Tried) -> float:
    return 0.0 if tried.compared is None else tried.compared.speedup


def _allowed(metric: str, max_loss: float | None) -> float:
    return MAX_LOSS[metric] if max_loss is None else max_loss


def _explain_refusal(tried: Sequence[Tried], max_loss: float | None) -> PipelineError:
    """The error that says why nothing is saved."""
    if any(each.is_acceptable(max_loss) for each in tried):
        return PipelineError(
            "Nothing that is accurate enough is faster than the original; nothing was written",
            hint="Name a --precision to save it all the same",
        )
    losses = [
        f"{each.inference.precision} lowers {each.compared.metric} by {each.compared.loss:.2f}"
        for each in tried
        if each.compared is not None
    ]
    metrics = [each.compared.metric for each in tried if each.compared is not None]
    if not losses:
        return PipelineError(
            f"{tried[0].inference.precision}: {tried[0].problem}; nothing was written",
            hint="The original pipeline can still be used",
        )
    return PipelineError(
        f"{', '.join(losses)} points, more than the {_allowed(metrics[0], max_loss):g} allowed; "
        "nothing was written",
        hint="Raise --max-loss, or use another --precision",
    )


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
