"""Collect the outputs of padded sub-batches in the order of the batch's wordpieces."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces
from trfcli_pipeline.encoder.segment_sums import sum_segments
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.encoder.transfers import upload
from trfcli_pipeline.tokenization.alignment import offsets_within


class Collector:
    """Collects the outputs of padded sub-batches in the order of the batch's wordpieces.

    They stay on the encoder's device. Several threads may add sub-batches at once, and a sub-batch
    may be added again.

    Args:
        X: The whole batch.
    """

    def __init__(self, shim: TransformersShim, X: WordPieces) -> None:
        self.device = shim.device
        self.lengths = X.lengths
        config, width = shim.module.config, shim.capabilities.width
        self.hidden = self._empty(len(X.ids), width)
        self.pooler: torch.Tensor | None = None
        if getattr(shim.module, "pooler", None) is not None:
            self.pooler = self._empty(len(X.lengths), width)
        self.layers: list[torch.Tensor] | None = None
        if shim.all_hidden_states:
            # The output of the embeddings comes first.
            n_layers = config.num_hidden_layers + 1
            self.layers = [self._empty(len(X.ids), width) for _ in range(n_layers)]
        self.attentions: list[torch.Tensor] | None = None
        if shim.all_attentions:
            shape = (config.num_hidden_layers, config.num_attention_heads, 0, 0)
            self.attentions = [self._empty(*shape) for _ in X.lengths]

    def add(self, batch: SubBatch, output: Any) -> None:
        """Add the output of a sub-batch.

        Args:
            output: transformers' ModelOutput.
        """
        self.hidden[batch.positions] = self._rows(output.last_hidden_state, batch)
        if self.pooler is not None:
            pooled = output.pooler_output[: len(batch.segments)]
            self.pooler[batch.rows] = pooled.detach().to(self.pooler)
        if self.layers is not None:
            for into, layer in zip(self.layers, output.hidden_states, strict=True):
                into[batch.positions] = self._rows(layer, batch)
        if self.attentions is not None:
            attentions = torch.stack(output.attentions, dim=1).detach().float()
            for row, segment in enumerate(batch.segments.tolist()):
                n = int(self.lengths[segment])
                self.attentions[segment] = attentions[row, :, :, :n, :n].contiguous()

    def copy_duplicates(self, firsts: NDArray[np.intp]) -> None:
        """Copy the outputs of segments to their duplicates, which weren't encoded.

        Args:
            firsts: The result of `padding.first_occurrences`. *Shape:* (segments,)
        """
        copies = np.flatnonzero(firsts != np.arange(len(firsts)))
        sources = firsts[copies]
        starts, lengths = np.cumsum(self.lengths) - self.lengths, self.lengths[copies]
        within = offsets_within(lengths)
        indices = (
            np.repeat(starts[copies], lengths) + within,
            np.repeat(starts[sources], lengths) + within,
            copies,
            sources,
        )
        to_pieces, from_pieces, to_rows, from_rows = upload(
            [torch.from_numpy(each) for each in indices], self.device
        )
        for rows in (self.hidden, *(self.layers or ())):
            rows[to_pieces] = rows[from_pieces]
        if self.pooler is not None:
            self.pooler[to_rows] = self.pooler[from_rows]
        if self.attentions is not None:
            for copy, source in zip(copies.tolist(), sources.tolist(), strict=True):
                self.attentions[copy] = self.attentions[source].clone()

    def activations(self) -> Activations:
        """What was collected, as tensors."""
        return Activations(
            last_hidden_state=self.hidden,
            pooler_output=self.pooler,
            all_hidden_states=self.layers,
            all_attentions=self.attentions,
            lengths=self.lengths,
            segment_sums=sum_segments(self.hidden, self.lengths),
        )

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=self.device)

    def _rows(self, padded: torch.Tensor, batch: SubBatch) -> torch.Tensor:
        return padded.detach().flatten(0, 1)[batch.places].to(self.hidden)
