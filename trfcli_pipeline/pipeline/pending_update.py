"""An update of the encoder that waits for the heads' gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spacy.tokens import Doc
from thinc.api import Optimizer, get_array_module
from thinc.types import FloatsXd

from trfcli_pipeline.encoder.activations import KINDS, Activations
from trfcli_pipeline.encoder.updates import Backprop

Gradient = FloatsXd | list[FloatsXd] | None

# The attribute of the Doc with the gradient of each field of Activations.
_GRADIENTS = {kind: f"trf_d_{kind}" for kind in KINDS}


@dataclass(slots=True)
class PendingUpdate:
    """An update to which heads may still add gradients.

    Attributes:
        docs: The Docs of the batch.
        zeros: The initial gradients of each Doc.
        backprop: Runs the encoder's backward pass.
        optimizer: Takes the step once the gradients are there; None to take none.
    """

    docs: Sequence[Doc]
    zeros: Sequence[Activations]
    backprop: Backprop
    optimizer: Optimizer | None = None

    @classmethod
    def begin(
        cls, docs: Sequence[Doc], activations: Activations, backprop: Backprop
    ) -> "PendingUpdate":
        """Set arrays of zeros on the Docs, to which the heads add their gradients."""
        segments_per_doc = [len(doc._.trf_segments) for doc in docs]
        zeros = _zeros_like(activations).split(segments_per_doc)
        for doc, part in zip(docs, zeros, strict=True):
            for field, attribute in _GRADIENTS.items():
                doc._.set(attribute, getattr(part, field))
        return cls(docs, zeros, backprop)

    def has_gradients(self) -> bool:
        """Check whether a head has replaced a gradient, or written to one in place."""
        return any(
            _differs(doc._.get(attribute), getattr(zeros, field))
            for doc, zeros in zip(self.docs, self.zeros, strict=True)
            for field, attribute in _GRADIENTS.items()
        )

    def take_gradients(self) -> Activations:
        """Collect the gradients of the Docs, and remove them from there."""
        parts = []
        for doc, zeros in zip(self.docs, self.zeros, strict=True):
            kinds = {field: doc._.get(attribute) for field, attribute in _GRADIENTS.items()}
            parts.append(Activations(**kinds, lengths=zeros.lengths, is_grad=True))
        self.clear()
        return Activations.join(parts)

    def clear(self) -> None:
        """Remove the gradients from the Docs."""
        for doc in self.docs:
            for attribute in _GRADIENTS.values():
                doc._.set(attribute, None)


def _differs(now: Gradient, zeros: Gradient) -> bool:
    if now is not zeros:
        return True
    if now is None:
        return False
    arrays = now if isinstance(now, list) else [now]
    return any(bool(array.any()) for array in arrays)


def _zeros_like(activations: Activations) -> Activations:
    kinds: dict[str, Any] = {kind: _zeros(getattr(activations, kind)) for kind in KINDS}
    return Activations(**kinds, lengths=activations.lengths, is_grad=True)


def _zeros(values: Gradient) -> Gradient:
    if values is None:
        return None
    if isinstance(values, list):
        return [get_array_module(each).zeros_like(each) for each in values]
    return get_array_module(values).zeros_like(values)
