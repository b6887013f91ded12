"""Weights stored in 16 bits, half of their size in float32."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from trfcli_pipeline.errors import EncoderError


def halve_weights(path: Path) -> None:
    """Round the float32 weights in an encoder's directory to fp16.

    `load_encoder` converts them back, so the encoder computes in float32, on rounded weights. We
    store fp16 rather than bf16 because it has three more bits of precision, and weights don't need
    bf16's range. Tensors that do need it remain in float32.

    Args:
        path: Directory with safetensors files, which are replaced.

    Raises:
        EncoderError: There are none.
    """
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise EncoderError(
            "The encoder has no weights in the safetensors format",
            hint="Load the pipeline and save it again: nlp.to_disk writes this format",
        )
    for file in files:
        with safe_open(file, "pt") as opened:
            tensors = {name: _halved(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata()
        # The tensors that weren't rounded still refer to the old file.
        written = file.with_suffix(".tmp")
        save_file(tensors, written, metadata=metadata)
        written.replace(file)


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    halved = tensor.half()
    return halved if torch.equal(halved.isinf(), tensor.isinf()) else tensor
