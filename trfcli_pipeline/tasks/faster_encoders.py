"""The ways to make an encoder faster on a device, and encoders made in these ways."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from spacy.language import Language

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.encoder.backends import (
    PRECISIONS,
    Backend,
    Encoder,
    InferenceConfig,
    cast_weights,
)
from trfcli_pipeline.encoder.capabilities import pad_id
from trfcli_pipeline.encoder.devices import installed_version, resolve_device
from trfcli_pipeline.encoder.openvino_backend import has_openvino_bf16
from trfcli_pipeline.encoder.openvino_export import convert
from trfcli_pipeline.encoder.padding import pad
from trfcli_pipeline.encoder.precision import InferencePrecision, has_bf16_instructions
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.pipeline.doc_rows import word_pieces
from trfcli_pipeline.pipeline.tok2vec import TransformersTok2Vec
from trfcli_pipeline.tasks.before_after import evenly

# What "auto" tries, by the kind of device.
_ON_CPU: Sequence[tuple[Backend, InferencePrecision]] = (
    ("openvino", "int8"),
    ("openvino", "bf16"),
    ("openvino", "fp32"),
    ("torch", "bf16"),
)
_ON_CUDA: Sequence[tuple[Backend, InferencePrecision]] = (
    ("torch", "bf16"),
    ("torch", "fp16"),
    ("torch", "tf32"),
)
_ON_OTHERS: Sequence[tuple[Backend, InferencePrecision]] = (("torch", "bf16"), ("torch", "fp16"))

# More segments hardly change the ranges of activations.
_CALIBRATION_SEGMENTS = 300
_CALIBRATION_PIECES = 20_000


def choose_device(name: str, precision: str, backend: Backend | None) -> torch.device:
    """The device to optimize for; "auto" is the CPU for what only OpenVINO can do.

    Raises:
        DeviceError: There is no such device.
        PipelineError: OpenVINO was chosen, but not the CPU.
    """
    needs_cpu = backend == "openvino" or precision == "int8"
    device = resolve_device("cpu" if needs_cpu and name == "auto" else name)
    if needs_cpu and device.type != "cpu":
        what = precision if precision == "int8" else "OpenVINO"
        raise PipelineError(f"{what} runs only on a CPU, not on {device}", hint="Use --device cpu")
    return device


def find_candidates(
    device: torch.device, precision: InferencePrecision | Literal["auto"], backend: Backend | None
) -> list[InferenceConfig]:
    """List the precisions and backends to try on a device.

    Args:
        precision: "auto" for all that the device is fast with.
        backend: None for any.

    Raises:
        PipelineError: There are none.
    """
    if precision == "auto":
        return _available(device, backend)
    # On a CPU, OpenVINO is the faster of the two.
    backends: list[Backend] = ["openvino", "torch"] if device.type == "cpu" else ["torch"]
    found = [each for each in backends if backend in (None, each) and precision in PRECISIONS[each]]
    if precision in ("fp16", "tf32") and device.type == "cpu":
        raise PipelineError(f"{precision} is only for GPUs", hint="Use --precision auto")
    if not found:
        # OpenVINO can do all that torch can on a CPU.
        raise PipelineError(
            f"{precision} needs the OpenVINO backend", hint="Use --backend openvino"
        )
    return [InferenceConfig(found[0], precision, device.type)]


def _available(device: torch.device, backend: Backend | None) -> list[InferenceConfig]:
    """What "auto" tries on a device.

    Raises:
        PipelineError: Nothing.
    """
    pairs = {"cpu": _ON_CPU, "cuda": _ON_CUDA}.get(device.type, _ON_OTHERS)
    found = [
        InferenceConfig(name, precision, device.type)
        for name, precision in pairs
        if backend in (None, name) and _is_available(device, name, precision)
    ]
    if not found:
        raise PipelineError(
            f"{device} computes fastest in fp32, except with OpenVINO",
            hint='pip install "trfcli[openvino]", and use --backend openvino',
        )
    return found


def _is_available(device: torch.device, backend: Backend, precision: InferencePrecision) -> bool:
    if backend == "openvino":
        installed = installed_version("openvino") and installed_version("nncf")
        return bool(installed) and (precision != "bf16" or has_openvino_bf16())
    return precision != "bf16" or device.type == "mps" or has_bf16_instructions(device)


def calibration_examples(
    nlp: Language, encoder: TransformersTok2Vec, records: Sequence[Record]
) -> list[dict[str, torch.Tensor]]:
    """Choose segments of the texts, and return the encoder's input for each, without padding."""
    texts = [record.text for record in evenly(records, _CALIBRATION_SEGMENTS)]
    before = nlp.pipe_names[: nlp.pipe_names.index(encoder.name)]
    with nlp.select_pipes(enable=before):
        docs = list(nlp.pipe(texts))
    X = word_pieces(docs)
    filled = evenly(np.flatnonzero(X.lengths).tolist(), _CALIBRATION_SEGMENTS)
    # Take at least one segment, even if it is too long.
    n_chosen = int(np.searchsorted(np.cumsum(X.lengths[filled]), _CALIBRATION_PIECES)) + 1
    padding = pad_id(encoder.model.shim.module)
    return [pad(X, np.array([row]), padding).inputs for row in filled[:n_chosen]]


def replace_encoder(
    component: TransformersTok2Vec,
    inference: InferenceConfig,
    examples: Sequence[Mapping[str, torch.Tensor]],
) -> None:
    """Replace a component's encoder by a faster one.

    Args:
        examples: Inputs to calibrate int8 on.

    Raises:
        PipelineError: OpenVINO can't return what the component keeps, or isn't installed.
        EncoderError: OpenVINO can't run this encoder.
    """
    shim = component.model.shim
    encoder = shim.encoder
    if inference.backend == "torch":
        shim.encoder = cast_weights(encoder, inference)
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
