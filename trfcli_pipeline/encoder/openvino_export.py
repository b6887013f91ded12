"""Convert encoders from torch to OpenVINO, and quantize them.

openvino and nncf are optional dependencies, so they are imported only inside functions.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trfcli_pipeline.encoder.capabilities import EncoderCapabilities, call_options, pad_id
from trfcli_pipeline.encoder.openvino_backend import (
    GRAPH_FILE,
    LAYER_PREFIX,
    OpenVINOEncoder,
    graph_inputs,
    import_openvino,
)
from trfcli_pipeline.encoder.precision import InferencePrecision
from trfcli_pipeline.errors import EncoderError, one_line
from trfcli_pipeline.huggingface import pretrained

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Tolerated rounding error of a row, relative to the largest value.
_TOLERANCE = 1e-4


def convert(
    module: "PreTrainedModel",
    capabilities: EncoderCapabilities,
    precision: InferencePrecision,
    *,
    all_hidden_states: bool,
    examples: Sequence[Mapping[str, torch.Tensor]],
) -> OpenVINOEncoder:
    """Convert an encoder from torch to OpenVINO.

    Args:
        examples: Inputs of real sub-batches, to calibrate the value ranges of int8 on.

    Raises:
        EncoderError: OpenVINO can't run this encoder.
        PipelineError: OpenVINO isn't installed.
    """
    import_openvino()
    try:
        with _silenced(), pretrained.quiet():
            graph = _trace(module, capabilities, all_hidden_states=all_hidden_states)
            _check_outputs(_make_encoder(module, "fp32", graph), module, capabilities)
            if precision == "int8":
                graph = _quantize(graph, examples)
            return _make_encoder(module, precision, graph)
    except EncoderError:
        raise
    # Tracing may raise any exception for a model that it doesn't support.
    except Exception as error:
        raise EncoderError(
            f"{module.config.model_type}: can't be converted for OpenVINO: {one_line(error)}",
            hint="Use --backend torch",
        ) from error


class _Traced(torch.nn.Module):
    """An encoder with positional inputs and a tuple of outputs, as the tracer needs it."""

    def __init__(
        self, module: torch.nn.Module, inputs: Sequence[str], options: Mapping[str, bool]
    ) -> None:
        super().__init__()
        self.module = module
        self.inputs = inputs
        self.options = options
        self.outputs: list[str] = []

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.module(**dict(zip(self.inputs, tensors, strict=True)), **self.options)
        outputs = {"last_hidden_state": output.last_hidden_state}
        if getattr(output, "pooler_output", None) is not None:
            outputs["pooler_output"] = output.pooler_output
        if self.options.get("output_hidden_states"):
            outputs |= {f"{LAYER_PREFIX}{i}": layer for i, layer in enumerate(output.hidden_states)}
        self.outputs = list(outputs)
        return tuple(outputs.values())


def _trace(
    module: "PreTrainedModel", capabilities: EncoderCapabilities, *, all_hidden_states: bool
) -> Any:
    names = [
        name
        for name in _INPUTS
        if name in capabilities.arguments and (name != "token_type_ids" or capabilities.has_types)
    ]
    options = call_options(capabilities.arguments, output_hidden_states=all_hidden_states)
    # One row has padding: without any, the mask would be traced away.
    ids = torch.full((2, 5), 1 if pad_id(module) == 0 else 0)
    mask = torch.ones_like(ids)
    if capabilities.ignores_padding:
        mask[0, 3:] = 0
    example = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    traced = _Traced(module, names, options).eval()
    with torch.no_grad():
        graph = import_openvino().convert_model(
            traced, example_input=tuple(example[name] for name in names)
        )
    for ports, labels in ((graph.inputs, names), (graph.outputs, traced.outputs)):
        for port in ports:
            port.get_tensor().set_names(set())
        for port, name in zip(ports, labels, strict=True):
            port.get_tensor().add_names({name})
    return graph


def _check_outputs(
    encoder: OpenVINOEncoder, module: "PreTrainedModel", capabilities: EncoderCapabilities
) -> None:
    """Compare the converted encoder with the original, on input of another shape than traced."""
    ids = torch.arange(27).reshape(3, 9) % module.config.vocab_size
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if capabilities.ignores_padding:
        inputs["attention_mask"][1, 6:] = 0
    seen = inputs["attention_mask"].bool()
    inputs = {name: each for name, each in inputs.items() if name in capabilities.arguments}
    with torch.no_grad():
        expected = module(**inputs, **call_options(capabilities.arguments)).last_hidden_state[seen]
    actual = encoder(**inputs).last_hidden_state[seen]
    if not torch.allclose(actual, expected, rtol=0, atol=_TOLERANCE * float(expected.abs().max())):
        raise EncoderError(
            f"{module.config.model_type}: gives other results when OpenVINO runs it",
            hint="Use --backend torch",
        )


def _quantize(graph: Any, examples: Sequence[Mapping[str, torch.Tensor]]) -> Any:
    """Quantize weights and the inputs of matrix products to int8, after training (SmoothQuant).

    The ranges of weights and attention are symmetric, those of norms and GELU aren't. This keeps
    the cosine of MiniLM's rows at 0.996, against 0.995 with symmetric ranges everywhere and 0.989
    without smoothing.
    """
    import nncf

    names = [port.get_any_name() for port in graph.inputs]
    return nncf.quantize(
        graph,
        nncf.Dataset([graph_inputs(each, names) for each in examples]),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(examples),
        fast_bias_correction=True,
    )


def _make_encoder(
    module: "PreTrainedModel", precision: InferencePrecision, graph: Any
) -> OpenVINOEncoder:
    def save(path: Path) -> None:
        # float16 is closer to the original weights than bfloat16 would be.
        compress = precision == "bf16"
        import_openvino().save_model(graph, path / GRAPH_FILE, compress_to_fp16=compress)

    files = pretrained.to_files(save)
    return OpenVINOEncoder(module.config, precision, module.num_parameters(), files)


@contextmanager
def _silenced() -> Iterator[None]:
    """Hide the messages and progress bars of OpenVINO, nncf and torch's tracer."""
    logger = logging.getLogger("nncf")
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import nncf  # noqa: F401 - importing it sets up its logger, and warns

        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
