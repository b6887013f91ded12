"""Names of precisions, and mixed-precision training."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch

from trfcli_pipeline.errors import DeviceError, PipelineError

if TYPE_CHECKING:
    from trfcli_pipeline.huggingface.types import PreTrainedModel

# Precisions of training, and the type that torch computes in.
DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Precisions of inference. Only OpenVINO has int8; tf32 is float32 with products of 19 bits.
InferencePrecision = Literal["fp32", "tf32", "bf16", "fp16", "int8"]

# On a GPU, bf16 needs more kernels than fp32, to convert weights and outputs. On an H200, captured
# updates of a BERT-base (width 768) were faster in bf16 even with 400 wordpieces, and those of
# MiniLM (384) slower with 3,500; see BENCHMARKS.md. From `_MIN_BF16_WORK` on, width^2 x wordpieces,
# the products of a narrow encoder are estimated to take twice as long in fp32 as starting the
# kernels.
_BF16_WIDTH = 768
_MIN_BF16_WORK = 5e9

# By default, torch and oneDNN keep up to a thousand kernels each.
_KERNEL_CACHES = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}

# In rows of this length, the attention matrices take about half as much memory as the other
# outputs of a layer.
_EAGER_ATTENTION_PIECES = 128


def check_precision(name: str) -> None:
    """Raise a PipelineError unless a training precision is "auto" or one of `DTYPES`."""
    if name != "auto" and name not in DTYPES:
        raise PipelineError(
            f"precision: unknown value {name!r}", hint='Use "auto", "fp32", "bf16" or "fp16"'
        )


def resolve_precision(name: str, device: torch.device, *, width: int = 0, n_pieces: int = 0) -> str:
    """Choose the training precision for a device.

    Args:
        name: One of `DTYPES`, or "auto" for bf16 on devices with bfloat16 instructions and fp32
            on others. On a GPU, "auto" is bf16 only for encoders that are wide enough, or for large
            updates.
        width: Width of the encoder's layers; 0 if not known yet.
        n_pieces: Number of wordpieces in an update; 0 if not known yet.

    Raises:
        PipelineError: The precision is unknown.
        DeviceError: The device doesn't support it.
    """
    check_precision(name)
    if name == "auto":
        gains = width >= _BF16_WIDTH or width**2 * n_pieces >= _MIN_BF16_WORK
        is_slower = device.type == "cuda" and not gains
        return "bf16" if has_bf16_instructions(device) and not is_slower else "fp32"
    if name != "fp32" and not torch.amp.is_autocast_available(device.type):
        raise DeviceError(f"{device.type}: can't train in {name}", hint="Use fp32")
    return name


def has_bf16_instructions(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 without emulation."""
    match device.type:
        case "cuda":
            return torch.cuda.is_bf16_supported(including_emulation=False)
        case "cpu":
            # Older versions of torch lack this function.
            found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
            return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False


def inference_dtype(precision: InferencePrecision, device: torch.device) -> torch.dtype:
    """The type of an encoder's weights for predictions."""
    # CPUs compute in fp16 many times more slowly than in float32.
    if precision == "fp16" and device.type == "cpu":
        return torch.float32
    return DTYPES.get(precision, torch.float32)


@contextmanager
def inference_products(precision: InferencePrecision, device: torch.device) -> Iterator[None]:
    """Compute float32 products in tf32 inside the context, if that is the precision."""
    if precision != "tf32" or device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def limit_kernel_caches(device: torch.device) -> None:
    """Limit how many compiled kernels are cached on a CPU, unless the environment sets limits.

    In reduced precision, each shape of sub-batch needs its own kernels, of half a megabyte or
    more. Sub-batches of segments of similar length need few shapes, and compiling a kernel takes
    a millisecond. The limits are read when the first kernel is compiled, so this function must be
    called before anything runs.
    """
    if device.type == "cpu":
        for name, number in _KERNEL_CACHES.items():
            os.environ.setdefault(name, number)


def autocast(
    precision: str, device: torch.device, *, keeps_weights: bool = True
) -> AbstractContextManager[Any]:
    """Compute matrix products in the precision; weights, sums and norms stay in float32.

    Args:
        keeps_weights: Whether to convert each weight only once per context. The gradients of
            several sub-batches are then summed in the lower precision. As fp16 lacks the range for
            that, it never keeps them.
    """
    if precision == "fp32":
        return nullcontext()
    keeps_weights = keeps_weights and precision != "fp16"
    return torch.autocast(device.type, DTYPES[precision], cache_enabled=keeps_weights)


@contextmanager
def eager_attention_if_faster(
    module: "PreTrainedModel", precision: str, n_pieces: int
) -> Iterator[None]:
    """Use eager attention inside the context where it is faster and needs little memory.

    This is the case on a CPU, in reduced precision and for short rows: there, the backward pass
    of torch's SDPA takes longer than in float32.

    Args:
        n_pieces: Number of wordpieces in the longest row.
    """
    use_eager = (
        precision != "fp32"
        and module.device.type == "cpu"
        and n_pieces <= _EAGER_ATTENTION_PIECES
        and module.config._attn_implementation == "sdpa"
    )
    if use_eager:
        module.set_attn_implementation("eager")
    try:
        yield
    finally:
        if use_eager:
            module.set_attn_implementation("sdpa")


def make_grad_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Create the gradient scaler for fp16; for other precisions, it is disabled."""
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    # A scaler is initialized when it first scales, and that would overwrite a restored state.
    scaler.scale(torch.zeros((), device=device))
    return scaler


def to_float32(value: Any) -> Any:
    """Convert a tensor or a tuple of tensors to float32. Gradients flow through."""
    if isinstance(value, tuple):
        return tuple(to_float32(each) for each in value)
    return value.float() if isinstance(value, torch.Tensor) else value
