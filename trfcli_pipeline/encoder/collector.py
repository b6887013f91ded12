"""Puts the rows of padded sub-batches back to where the wordpieces stood in the batch."""

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from thinc.api import CupyOps, torch2xp

from trfcli_pipeline.encoder.activations import Activations, Floats
from trfcli_pipeline.encoder.padding import SubBatch, WordPieces
from trfcli_pipeline.tokenization.alignment import offsets_within

if TYPE_CHECKING:
    from trfcli_pipeline.encoder.model import TransformersWrapper


class Collector:
    """Puts the rows of padded sub-batches back to where the wordpieces stood in the batch.

    Sub-batches may be added by several threads at once, and again.
    """

    def __init__(self, model: "TransformersWrapper", X: WordPieces) -> None:
        self.model = model
        self.lengths = X.lengths
        self.n_pieces = len(X.ids)
        # Arrays stay on the GPU only where Thinc has one to work on them with.
        self.on_device = isinstance(model.ops, CupyOps)
        width = model.get_dim("nO")
        self.hidden = self._empty(self.n_pieces, width)
        self.pooler: torch.Tensor | None = None
        if getattr(model.module, "pooler", None) is not None:
            self.pooler = self._empty(len(X.lengths), width)
        self.layers: list[torch.Tensor] | None = None
        self._making_layers = Lock()
        if model.all_hidden_states and not self.n_pieces:
            # Nothing will be encoded that the shapes could be taken from.
            n_layers = model.module.config.num_hidden_layers + 1
            self.layers = [self._empty(0, width) for _ in range(n_layers)]
        self.attentions: list[Floats] | None = None
        if model.all_attentions:
            config = model.module.config
            shape = (config.num_hidden_layers, config.num_attention_heads, 0, 0)
            self.attentions = [self._to_xp(self._empty(*shape)) for _ in X.lengths]

    def _empty(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=self.model.device if self.on_device else "cpu")

    def add(self, batch: SubBatch, output: Any) -> None:
        positions = batch.positions.to(self.hidden.device)
        self.hidden[positions] = self._rows(output.last_hidden_state, batch)
        if self.pooler is not None:
            segments = torch.from_numpy(batch.segments).to(self.pooler.device)
            self.pooler[segments] = output.pooler_output.detach().to(self.pooler)
        if self.model.all_hidden_states:
            with self._making_layers:
                if self.layers is None:
                    self.layers = [
                        self._empty(self.n_pieces, layer.shape[2]) for layer in output.hidden_states
                    ]
            for into, layer in zip(self.layers, output.hidden_states, strict=True):
                into[positions] = self._rows(layer, batch)
        if self.attentions is not None:
            attentions = torch.stack(output.attentions, dim=1).detach().float()
            for row, segment in enumerate(batch.segments.tolist()):
                n = int(self.lengths[segment])
                self.attentions[segment] = self._to_xp(attentions[row, :, :, :n, :n].contiguous())

    def repeat(self, originals: NDArray[np.intp]) -> None:
        """Give segments that weren't encoded the outputs of those that they are equal to.

        Args:
            originals: What `padding.find_originals` returned.
        """
        copies = np.flatnonzero(originals != np.arange(len(originals)))
        sources = originals[copies]
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

    def _rows(self, padded: torch.Tensor, batch: SubBatch) -> torch.Tensor:
        return padded.detach()[batch.mask].to(self.hidden)

    def _to_xp(self, tensor: torch.Tensor) -> Floats:
        return torch2xp(tensor) if self.on_device else tensor.cpu().numpy()

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
