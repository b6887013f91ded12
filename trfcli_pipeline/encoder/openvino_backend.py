"""Run encoders with OpenVINO.

openvino is an optional dependency, so it is imported only inside functions.
"""

import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.precision import InferencePrecision
from trfcli_pipeline.encoder.threads import count_streams
from trfcli_pipeline.errors import EncoderError, PipelineError, needs_extra, one_line
from trfcli_pipeline.huggingface.configs import load_config

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PretrainedConfig

# The usual file names of OpenVINO models.
GRAPH_FILE, WEIGHTS_FILE = "openvino_model.xml", "openvino_model.bin"
# Prefix of the graph's outputs for `all_hidden_states`.
LAYER_PREFIX = "hidden_states."

# Each shape of sub-batch needs its own kernel. The default of thousands takes gigabytes.
_KERNEL_CACHE_SIZE = 64
# By default, OpenVINO chooses bfloat16 where it is fast, and results depend on the machine.
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


@dataclass(slots=True)
class Output:
    """The part of transformers' ModelOutput that OpenVINO encoders return."""

    last_hidden_state: torch.Tensor
    pooler_output: torch.Tensor | None
    hidden_states: tuple[torch.Tensor, ...]
    attentions: None = None


class OpenVINOEncoder(torch.nn.Module):
    """Replaces transformers' model for inference. It has no trainable parameters.

    It may be called from several threads at once; each gets a stream with one thread.

    Args:
        config: The config of the original encoder.
        precision: What it computes in.
        n_parameters: Number of parameters of the original encoder.
        files: The contents of the graph's file and the weights' file, by name.
    """

    def __init__(
        self,
        config: "PretrainedConfig",
        precision: InferencePrecision,
        n_parameters: int,
        files: Mapping[str, bytes],
    ) -> None:
        super().__init__()
        self.config = config
        self.precision = precision
        self.n_parameters = n_parameters
        self.files = dict(files)
        self.graph = _read_graph(self.files)
        self.input_names = [port.get_any_name() for port in self.graph.inputs]
        # Compiling merges the names of equal outputs, so read them before.
        self.output_names = [port.get_any_name() for port in self.graph.outputs]
        self.layer_names = [name for name in self.output_names if name.startswith(LAYER_PREFIX)]
        # Only compared with None, as in transformers' models.
        self.pooler = torch.nn.Identity() if "pooler_output" in self.output_names else None
        self._compiled: Any = None
        self._requests = threading.local()
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls, path: Path, precision: InferencePrecision, n_parameters: int
    ) -> "OpenVINOEncoder":
        """Load from a directory that `save_pretrained` wrote.

        Raises:
            EncoderError: Files are missing or damaged.
            PipelineError: OpenVINO isn't installed.
        """
        try:
            files = {name: (path / name).read_bytes() for name in (GRAPH_FILE, WEIGHTS_FILE)}
        except OSError as error:
            raise EncoderError(f"{path}: can't load the encoder: {one_line(error)}") from error
        return cls(load_config(path), precision, n_parameters, files)

    def save_pretrained(self, path: Path) -> None:
        """Write config, graph and weights to a directory."""
        path.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(path)
        for name, content in self.files.items():
            (path / name).write_bytes(content)

    def num_parameters(self) -> int:
        return self.n_parameters

    def forward(self, **inputs: torch.Tensor) -> Output:
        # `infer` returns copies, because the request is reused.
        result = self._request().infer(graph_inputs(inputs, self.input_names), share_inputs=True)
        arrays = map(torch.from_numpy, result.to_tuple())
        tensors = dict(zip(self.output_names, arrays, strict=True))
        return Output(
            last_hidden_state=tensors["last_hidden_state"],
            pooler_output=tensors.get("pooler_output"),
            hidden_states=tuple(tensors[name] for name in self.layer_names),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled graphs, locks and thread-local data can't be copied.
        return OpenVINOEncoder, (self.config, self.precision, self.n_parameters, self.files)

    def _request(self) -> Any:
        """The inference request of this thread."""
        if not hasattr(self._requests, "request"):
            with self._lock:
                if self._compiled is None:
                    self._compiled = self._compile()
            self._requests.request = self._compiled.create_infer_request()
        return self._requests.request

    def _compile(self) -> Any:
        n_streams = count_streams(torch.device("cpu"))
        options = {
            "NUM_STREAMS": n_streams,
            "INFERENCE_NUM_THREADS": n_streams,
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[self.precision],
            # Several processes would all be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNEL_CACHE_SIZE,
        }
        compiled = openvino_core().compile_model(self.graph, "CPU", options)
        for port in compiled.inputs:
            # The first call builds a table of types. Two first calls at once would deadlock: one
            # holds the table and waits for Python's lock, the other the reverse.
            port.get_element_type().to_dtype()
        return compiled


def graph_inputs(
    inputs: Mapping[str, torch.Tensor], names: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Convert a sub-batch's inputs for the graph, which always needs a mask and type ids."""
    ids = inputs["input_ids"]
    defaults = {"attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    return {name: inputs.get(name, defaults.get(name, ids)).numpy() for name in names}


def import_openvino() -> Any:
    """Import openvino, with its telemetry disabled.

    Raises:
        PipelineError: It isn't installed.
    """
    # OpenVINO reports its usage through this package, if it finds it.
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    with needs_extra("The encoder needs OpenVINO", "openvino", PipelineError):
        import openvino
    return openvino


@cache
def openvino_core() -> Any:
    return import_openvino().Core()


def has_openvino_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _read_graph(files: Mapping[str, bytes]) -> Any:
    # Read from memory: the files may be deleted or replaced while the encoder is in use.
    try:
        return openvino_core().read_model(files[GRAPH_FILE], files[WEIGHTS_FILE])
    except RuntimeError as error:
        raise EncoderError(f"{GRAPH_FILE}: can't be read: {one_line(error)}") from error
