"""Encode a batch of wordpieces without gradients."""

import numpy as np
import torch

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.collector import Collector
from trfcli_pipeline.encoder.lora import merged
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces, first_occurrences
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.sub_batches import sub_batches
from trfcli_pipeline.encoder.threads import run_streams


def predict(
    shim: TransformersShim, X: WordPieces, *, words_per_batch: int | str | None
) -> Activations:
    """Encode a batch, in parallel streams on a CPU. Equal segments are encoded only once.

    Args:
        words_per_batch: See `sub_batches.sub_batches`.

    Returns:
        Tensors on the encoder's device, which may still be computing them.

    Raises:
        PipelineError: No weights are loaded yet.
        DeviceError: This process can't use the encoder's device, or a single segment doesn't fit in
            memory.
    """
    shim.check_process()
    shim.set_dropout(0.0)
    collector = Collector(shim, X)
    firsts = first_occurrences(X)
    is_first = firsts == np.arange(len(firsts))
    batches = sub_batches(shim, X, words_per_batch, only=is_first)

    def encode(batch: SubBatch) -> None:
        with torch.inference_mode():
            collector.add(batch, shim.encode(batch))

    def encode_guarded(batch: SubBatch) -> None:
        list(shim.predicting.run(encode, batch))

    with merged(shim.adapters):
        list(run_streams(encode_guarded, batches, shim.n_streams))
    if not is_first.all():
        with torch.inference_mode():
            collector.copy_duplicates(firsts)
    return collector.activations()
