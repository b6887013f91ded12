"""Collect the outputs of padded sub-batches in the order of the batch's wordpieces."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from thinc.api import CupyOps, Ops, torch2xp
from thinc.types import Floats4d

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces
from trfcli_pipeline.encoder.shim import TransformersShim
from trfcli_pipeline.tokenization.alignment import offsets_within


class Collector:
    """Collects the outputs of padded sub-batches in the order of the batch's wordpieces.

    Several threads may add sub-batches at once, and a sub-batch may be added again.

    Args:
        X: The whole batch.
        ops: Thinc's ops. With CuPy the arrays stay on the GPU, otherwise they are NumPy's.
    """

    def __init__(self, shim: TransformersShim, X: WordPieces, ops: Ops) -> None:
        self.shim = shim
        self.lengths = X.lengths
        self.n_pieces = len(X.ids)
        self.on_device = isinstance(ops, CupyOps)
        config, width = shim.module.config, shim.capabilities.width
        self.hidden = self._empty(self.n_pieces, width)
        self.pooler: torch.Tensor | None = None
        if getattr(shim.module, "pooler", None) is not None:
            self.pooler = self._empty(len(X.lengths), width)
        self.layers: list[torch.Tensor] | None = None
        if shim.all_hidden_states:
            # The output of the embeddings comes first.
            n_layers = config.num_hidden_layers + 1
            self.layers = [self._empty(self.n_pieces, width) for _ in range(n_layers)]
        self.attentions: list[Floats4d] | None = None
        if shim.all_attentions:
            shape = (config.num_hidden_layers, config.num_attention_heads, 0, 0)
            self.attentions = [self._to_xp(self._empty(*shape)) for _ in X.lengths]

    def add(self, batch: SubBatch, output: Any) -> None:
        """Add the output of a sub-batch.

        Args:
            output: transformers' ModelOutput.
        """
        positions = batch.positions.to(self.hidden.device)
        self.hidden[positions] = self._rows(output.last_hidden_state, batch)
        if self.pooler is not None:
            segments = torch.from_numpy(batch.segments).to(self.pooler.device)
            self.pooler[segments] = output.pooler_output.detach().to(self.pooler)
        if self.layers is not None:
            for into, layer in zip(self.layers, output.hidden_states, strict=True):
                into[positions] = self._rows(layer, batch)
        if self.attentions is not None:
            attentions = torch.stack(output.attentions, dim=1).detach().float()
            for row, segment in enumerate(batch.segments.tolist()):
                n = int(self.lengths[segment])
                self.attentions[segment] = self._to_xp(attentions[row, :, :, :n, :n].contiguous())

    def copy_duplicates(self, firsts: NDArray[np.intp]) -> None:
        """Copy the outputs of segments to their duplicates, which weren't encoded.

        Args:
            firsts: The result of `padding.first_occurrences`. *Shape:* (segments,)
        """
        copies = np.flatnonzero(firsts != np.arange(len(firsts)))
        sources = firsts[copies]
        starts, lengths = np.cumsum(self.lengths) - self.lengths, self.lengths[copies]
        within = offsets_within(lengths)
        to_pieces = torch.from_numpy(np.repeat(starts[copies], lengths) + within)
        from_pieces = torch.from_numpy(np.repeat(starts[sources], lengths) + within)
        for rows in (self.hidden, *(self.layers or ())):
            rows[to_pieces] = rows[from_pieces]
        if self.pooler is not None:
            self.pooler[torch.from_numpy(copies)] = self.pooler[torch.from_numpy(sources)]
        if self.attentions is not None:
            for copy, source in zip(copies.tolist(), sources.tolist(), strict=True):
                self.attentions[copy] = self.attentions[source].copy()

    def activations(self) -> Activations:
        return Activations(
            last_hidden_state=self._to_xp(self.hidden),
            pooler_output=None if self.pooler is None else self._to_xp(self.pooler),
            all_hidden_states=None
            if self.layers is None
            else [self._to_xp(layer) for layer in self.layers],
            all_attentions=self.attentions,
            lengths=self.lengths,
        )

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=self.shim.device if self.on_device else "cpu")

    def _rows(self, padded: torch.Tensor, batch: SubBatch) -> torch.Tensor:
        return padded.detach()[batch.mask].to(self.hidden)

    def _to_xp(self, tensor: torch.Tensor) -> Any:
        return torch2xp(tensor) if self.on_device else tensor.cpu().numpy()
