"""Encoders that OpenVINO runs: made of torch ones, quantized, saved and loaded.

The only module that imports openvino and nncf, and only inside functions: they are an extra.
"""

import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.capabilities import EncoderCapabilities, call_options, pad_id
from trfcli_pipeline.encoder.threads import count_streams
from trfcli_pipeline.errors import EncoderError, PipelineError, one_line
from trfcli_pipeline.huggingface import pretrained

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PretrainedConfig, PreTrainedModel

# What others who save models for OpenVINO call these files.
_GRAPH, _WEIGHTS = "openvino_model.xml", "openvino_model.bin"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LAYER = "hidden_states."
# Kernels to keep, of which there is one for each shape of a sub-batch. Thousands, which is the
# default, take gigabytes.
_KERNELS = 64
# One number is the same on each machine: by default, OpenVINO takes bfloat16 where it is fast.
_COMPUTED_IN = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}

# What rounding may make of a row, as a part of the largest value.
_TOLERANCE = 1e-4

Feed = dict[str, NDArray[np.int64]]


@dataclass(slots=True)
class Output:
    """What transformers calls a ModelOutput, as far as the encoder gives it."""

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor | None
    hidden_states: tuple[torch.Tensor, ...]
    attentions: None = None


class OpenVINOEncoder(torch.nn.Module):
    """Stands in for transformers' model where an encoder predicts; it has no parameters to train.

    It is called from several threads at once, each of which gets a stream of one thread.

    Args:
        config: That of the encoder that it was made of.
        precision: "int8", "bf16" or "fp32": what it computes in.
        n_parameters: How many that one had.
        files: The graph and its weights, by the names that they have on the disk.
    """

    def __init__(
        self,
        config: "PretrainedConfig",
        precision: str,
        n_parameters: int,
        files: Mapping[str, bytes],
    ) -> None:
        super().__init__()
        self.config = config
        self.precision = precision
        self.n_parameters = n_parameters
        self.files = dict(files)
        self.graph = _read(self.files)
        self.input_names = [port.get_any_name() for port in self.graph.inputs]
        # Compiling gives outputs that are the same, as the last two often are, one name.
        self.output_names = [port.get_any_name() for port in self.graph.outputs]
        self.layer_names = [name for name in self.output_names if name.startswith(_LAYER)]
        # Truth is all that is asked of it.
        self.pooler = torch.nn.Identity() if "pooler_output" in self.output_names else None
        self.n_streams = count_streams(torch.device("cpu"))
        self._process = os.getpid()
        self._compiled: dict[int, Any] = {}
        self._requests = threading.local()
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, path: Path, precision: str, n_parameters: int) -> "OpenVINOEncoder":
        """Load what `save_pretrained` wrote.

        Raises:
            EncoderError: Files are missing or damaged.
            PipelineError: OpenVINO isn't installed.
        """
        try:
            files = {name: (path / name).read_bytes() for name in (_GRAPH, _WEIGHTS)}
        except OSError as error:
            raise EncoderError(f"{path}: can't load the encoder: {one_line(error)}") from error
        return cls(pretrained.load_config(path), precision, n_parameters, files)

    def save_pretrained(self, path: Path) -> None:
        """Write config, graph and weights to a directory."""
        path.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(path)
        for name, content in self.files.items():
            (path / name).write_bytes(content)

    def num_parameters(self) -> int:
        return self.n_parameters

    def forward(self, **inputs: torch.Tensor) -> Output:
        # The result is a copy: the request that it comes from is used again.
        result = self._request().infer(_feed(inputs, self.input_names), share_inputs=True)
        arrays = map(torch.from_numpy, result.to_tuple())
        tensors = dict(zip(self.output_names, arrays, strict=True))
        return Output(
            last_hidden_state=tensors["last_hidden_state"],
            pooler_output=tensors.get("pooler_output"),
            hidden_states=tuple(tensors[name] for name in self.layer_names),
        )

    def _request(self) -> Any:
        """What runs the graph: one for each thread, and its own in each forked process."""
        process = os.getpid()
        if getattr(self._requests, "process", None) != process:
            with self._lock:
                # A fork has no threads; what it got from its parent would wait for them.
                if process not in self._compiled:
                    self._compiled[process] = self._compile()
            self._requests.request = self._compiled[process].create_infer_request()
            self._requests.process = process
        return self._requests.request

    def _compile(self) -> Any:
        n_streams = self.n_streams if os.getpid() == self._process else 1
        options = {
            "NUM_STREAMS": n_streams,
            "INFERENCE_NUM_THREADS": n_streams,
            "INFERENCE_PRECISION_HINT": _COMPUTED_IN[self.precision],
            # Several processes would all take the same cores.
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
        }
        compiled = _core().compile_model(self.graph, "CPU", options)
        for port in compiled.inputs:
            # The first call makes a table, and two at once wait for each other for ever: the one
            # for the table with Python's lock, the other for that lock with the table.
            port.get_element_type().to_dtype()
        return compiled


def convert(
    module: "PreTrainedModel",
    traits: EncoderCapabilities,
    precision: str,
    *,
    all_hidden_states: bool,
    examples: Sequence[Mapping[str, torch.Tensor]],
) -> OpenVINOEncoder:
    """Make an encoder for OpenVINO of one in torch.

    Args:
        examples: Inputs of real sub-batches. int8 is quantized such that the ranges of its
            activations hold these.

    Raises:
        EncoderError: OpenVINO can't run such an encoder.
        PipelineError: OpenVINO isn't installed.
    """
    _openvino()
    try:
        with _silence(), pretrained.quiet():
            graph = _trace(module, traits, all_hidden_states=all_hidden_states)
            _check(_encoder(module, "fp32", graph), module, traits)
            if precision == "int8":
                graph = _quantize(graph, examples)
            return _encoder(module, precision, graph)
    except EncoderError:
        raise
    # Whatever tracing makes of a model that it has no form for.
    except Exception as error:
        raise EncoderError(
            f"{module.config.model_type}: can't be converted for OpenVINO: {one_line(error)}",
            hint="Use --backend torch",
        ) from error


class _Traced(torch.nn.Module):
    """An encoder as a function of tensors in a fixed order to tensors in a fixed order."""

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
        found = {"last_hidden_state": output.last_hidden_state}
        if getattr(output, "pooler_output", None) is not None:
            found["pooler_output"] = output.pooler_output
        if self.options.get("output_hidden_states"):
            found |= {f"{_LAYER}{i}": layer for i, layer in enumerate(output.hidden_states)}
        self.outputs = list(found)
        return tuple(found.values())


def _check(
    encoder: OpenVINOEncoder, module: "PreTrainedModel", traits: EncoderCapabilities
) -> None:
    """Make sure that what was traced does what the module does, with input of another shape."""
    ids = torch.arange(27).reshape(3, 9) % module.config.vocab_size
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if traits.ignores_padding:
        inputs["attention_mask"][1, 6:] = 0
    seen = inputs["attention_mask"].bool()
    inputs = {name: each for name, each in inputs.items() if name in traits.arguments}
    with torch.no_grad():
        wanted = module(**inputs, **call_options(traits.arguments)).last_hidden_state[seen]
    found = encoder(**inputs).last_hidden_state[seen]
    if not torch.allclose(found, wanted, rtol=0, atol=_TOLERANCE * float(wanted.abs().max())):
        raise EncoderError(
            f"{module.config.model_type}: computes something else when OpenVINO runs it",
            hint="Use --backend torch",
        )


def _trace(
    module: "PreTrainedModel", traits: EncoderCapabilities, *, all_hidden_states: bool
) -> Any:
    names = [
        name
        for name in _INPUTS
        if name in traits.arguments and (name != "token_type_ids" or traits.has_types)
    ]
    options = call_options(traits.arguments, output_hidden_states=all_hidden_states)
    # A row with padding: without any, the mask would have no part in what is traced.
    ids = torch.full((2, 5), 1 if pad_id(module) == 0 else 0)
    mask = torch.ones_like(ids)
    if traits.ignores_padding:
        mask[0, 3:] = 0
    example = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    traced = _Traced(module, names, options).eval()
    with torch.no_grad():
        graph = _openvino().convert_model(
            traced, example_input=tuple(example[name] for name in names)
        )
    for ports, labels in ((graph.inputs, names), (graph.outputs, traced.outputs)):
        for port in ports:
            port.get_tensor().set_names(set())
        for port, name in zip(ports, labels, strict=True):
            port.get_tensor().add_names({name})
    return graph


def _quantize(graph: Any, examples: Sequence[Mapping[str, torch.Tensor]]) -> Any:
    """Weights and the inputs of matrix products in 8 bits, after training (SmoothQuant).

    Weights and attention are symmetric, what norms and GELU give isn't: MiniLM's rows keep a cosine
    of 0.996, against 0.995 with symmetric ranges everywhere, and 0.989 without smoothing.
    """
    import nncf

    names = [port.get_any_name() for port in graph.inputs]
    return nncf.quantize(
        graph,
        nncf.Dataset([_feed(each, names) for each in examples]),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(examples),
        fast_bias_correction=True,
    )


def _feed(inputs: Mapping[str, torch.Tensor], names: Sequence[str]) -> Feed:
    """What the graph takes of a sub-batch's inputs. It has no form without a mask or types."""
    ids = inputs["input_ids"]
    default = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return {name: inputs.get(name, default.get(name, ids)).numpy() for name in names}


def _encoder(module: "PreTrainedModel", precision: str, graph: Any) -> OpenVINOEncoder:
    def save(path: Path) -> None:
        # In 16 bits these are nearer to the weights than those that bf16 computes with.
        _openvino().save_model(graph, path / _GRAPH, compress_to_fp16=precision == "bf16")

    files = pretrained.to_files(save)
    return OpenVINOEncoder(module.config, precision, module.num_parameters(), files)


def _read(files: Mapping[str, bytes]) -> Any:
    # From memory, since the files may be gone, or replaced, while the encoder is in use.
    try:
        return _core().read_model(files[_GRAPH], files[_WEIGHTS])
    except RuntimeError as error:
        raise EncoderError(f"{_GRAPH}: can't be read: {one_line(error)}") from error


@cache
def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    # It would report to its makers what it is used for. Without this package, it doesn't.
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    try:
        import openvino
    except ImportError as error:
        raise PipelineError(
            "OpenVINO isn't installed, and the encoder needs it",
            hint='Install it: pip install "trfcli[openvino]"',
        ) from error
    return openvino


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the remarks and progress bars of OpenVINO, nncf and torch's tracer to themselves."""
    logger = logging.getLogger("nncf")
    level = logger.level
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import nncf  # noqa: F401 - it sets its logger up, and warns, when it is imported

        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
