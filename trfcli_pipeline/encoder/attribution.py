"""Run the encoder between an empty input and the real one, and attribute gradients to wordpieces.

Integrated gradients (Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks") need the
gradients along the straight path from the embeddings of an empty input to those of the real one.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.collector import Collector
from trfcli_pipeline.encoder.lora import merged
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, pad_rows
from trfcli_pipeline.encoder.segment_sums import upload_gradients
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.sub_batches import sub_batches
from trfcli_pipeline.encoder.transfers import upload_arrays
from trfcli_pipeline.encoder.updates import outputs_and_gradients
from trfcli_pipeline.errors import PipelineError

FloatArray = NDArray[np.float32]


def encode_scaled(
    shim: TransformersShim,
    X: WordPieces,
    scales: FloatArray,
    *,
    words_per_batch: int | str | None,
) -> tuple[Activations, Callable[[Activations], FloatArray]]:
    """Encode a batch whose word embeddings lie between those of an empty input and their own.

    In the empty input, each wordpiece has the embedding of padding, or zeros if the encoder has no
    padding. Positions stay as they are.

    Sub-batches are encoded again for their backward pass, so that the graph of one at a time is all
    that has to fit in memory. The gradients of weights are left alone.

    Args:
        scales: 1 for a wordpiece's own embedding, 0 for that of padding. *Shape:* (wordpieces,)
        words_per_batch: See `sub_batches.sub_batches`.

    Returns:
        The activations as tensors, and a callback that takes their gradients as arrays. It returns
        the product of each embedding's gradient and its distance from the empty input.
        *Shape:* (wordpieces,)

    Raises:
        PipelineError: The encoder has no gradients.
        DeviceError: This process can't use the encoder's device, or a single segment doesn't fit in
            memory.
    """
    shim.check_process()
    check_differentiable(shim)
    shim.set_dropout(0.0)
    collector = Collector(shim, X)
    batches = sub_batches(shim, X, words_per_batch, is_train=True)
    (factors,) = upload_arrays([scales.astype("float32").reshape(-1, 1)], shim.device)

    def forward(each: SubBatch) -> None:
        with torch.no_grad():
            collector.add(each, _Scaled(shim, each, factors).output)

    with merged(shim.adapters):
        for batch in batches:
            list(shim.updating.run(forward, batch))

    def backprop(d_activations: Activations) -> FloatArray:
        d_tensors = upload_gradients(d_activations, shim.device)
        products = torch.zeros(len(X.ids), device=shim.device)

        def backward(each: SubBatch) -> None:
            with torch.enable_grad():
                found = _Scaled(shim, each, factors).products(d_tensors)
            products[each.positions] = found.flatten()[each.places]

        with merged(shim.adapters):
            for batch in batches:
                list(shim.updating.run(backward, batch))
        return products.cpu().numpy()

    return collector.activations(), backprop


class _Scaled:
    """A sub-batch that is encoded with scaled embeddings.

    Args:
        factors: The scale of each wordpiece of the whole batch. *Shape:* (wordpieces, 1)
    """

    def __init__(self, shim: TransformersShim, batch: SubBatch, factors: torch.Tensor) -> None:
        inputs = dict(batch.inputs)
        ids = inputs.pop("input_ids")
        lookup = shim.module.get_input_embeddings()
        pad_id = getattr(shim.module.config, "pad_token_id", None)
        with torch.no_grad():
            own = lookup(ids)
            empty = own * 0 if pad_id is None else lookup(torch.full_like(ids, pad_id))
            self.distances = own - empty
            scaled = empty + pad_rows(factors, batch).to(empty) * self.distances
        self.batch = batch
        self.embeddings = scaled.requires_grad_()
        inputs["inputs_embeds"] = self.embeddings
        self.output = shim.encode(replace(batch, inputs=inputs))

    def products(self, d_activations: Activations) -> torch.Tensor:
        """Multiply gradients with distances. *Shape:* (rows, length)"""
        pairs = outputs_and_gradients(self.batch, self.output, d_activations)
        tensors, gradients = zip(*pairs, strict=True)
        typed = [each.to(own) for own, each in zip(tensors, gradients, strict=True)]
        (found,) = torch.autograd.grad(tensors, [self.embeddings], typed)
        return (found * self.distances).sum(dim=-1).float()


def check_differentiable(shim: TransformersShim) -> None:
    """Raise a PipelineError if the encoder has no gradients with respect to embeddings."""
    if shim.inference.backend != "torch":
        raise PipelineError(
            f"The encoder runs with {shim.inference.backend}, which has no gradients to explain "
            "predictions by",
            hint="Explain with the pipeline that was optimized; it predicts almost the same",
        )
    if "inputs_embeds" not in shim.capabilities.arguments:
        raise PipelineError(
            f"{shim.module.config.model_type}: this encoder takes no embeddings as input, so its "
            "predictions can't be explained"
        )
