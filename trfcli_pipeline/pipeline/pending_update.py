"""An update of the encoder that waits for the heads' gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.tokens import Doc
from thinc.api import Optimizer, get_array_module
from thinc.types import FloatsXd

from trfcli_pipeline.encoder.activations import KINDS, Activations
from trfcli_pipeline.encoder.updates import Backprop
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.heads.doc_gradients import begin_gradient, end_gradient, is_replaced
from trfcli_pipeline.tokenization.alignment import Alignment
from trfcli_pipeline.tokenization.retokenizing import stored

Gradient = FloatsXd | list[FloatsXd] | None

# The attribute of the Doc with the gradient of each field of Activations.
_GRADIENTS = {kind: f"trf_d_{kind}" for kind in KINDS}


@dataclass(slots=True)
class PendingUpdate:
    """An update to which heads may still add gradients.

    Attributes:
        docs: The Docs of the batch.
        gradients: The gradients of the whole batch, zero at first.
        parts: For each output that the encoder has, the part of each Doc, as a view.
        backprop: Runs the encoder's backward pass.
        optimizer: Takes the step once the gradients are there; None to take none.
    """

    docs: Sequence[Doc]
    gradients: Activations
    parts: Mapping[str, Sequence[Gradient]]
    backprop: Backprop
    optimizer: Optimizer | None = None

    @classmethod
    def begin(
        cls,
        docs: Sequence[Doc],
        alignments: Sequence[Alignment],
        activations: Activations,
        backprop: Backprop,
    ) -> "PendingUpdate":
        """Set arrays of zeros on the Docs, to which the heads add their gradients."""
        zeros = _zeros_like(activations)
        split = zeros.split([len(each.segments) for each in alignments])
        parts = {kind: each for kind, each in split.items() if getattr(zeros, kind) is not None}
        for kind, each in parts.items():
            for doc, part in zip(docs, each, strict=True):
                # A head may replace items of its Doc's list, but not of ours.
                own: Any = list(part) if isinstance(part, list) else part
                begin_gradient(doc, _GRADIENTS[kind], own)
        return cls(docs, zeros, parts, backprop)

    def has_gradients(self) -> bool:
        """Check whether a head has replaced a gradient, or written to one in place."""
        return any(
            _differs(stored(doc, _GRADIENTS[kind]), part)
            for doc, *parts in zip(self.docs, *self.parts.values(), strict=True)
            for kind, part in zip(self.parts, parts, strict=True)
        )

    def take_gradients(self) -> Activations:
        """Collect the gradients of the Docs, and remove them from there."""
        for kind, parts in self.parts.items():
            for doc, part in zip(self.docs, parts, strict=True):
                now = stored(doc, _GRADIENTS[kind])
                if isinstance(part, list) or is_replaced(doc, _GRADIENTS[kind]):
                    _copy(now, part, _GRADIENTS[kind])
        self.clear()
        return self.gradients

    def clear(self) -> None:
        """Remove the gradients from the Docs."""
        for kind in self.parts:
            for doc in self.docs:
                end_gradient(doc, _GRADIENTS[kind])


def _copy(now: Any, part: Any, attribute: str) -> None:
    """Copy the gradient of a Doc to its part of the batch."""
    if now is None or now is part:
        return
    if isinstance(part, list):
        for array, into in zip(now, part, strict=True):
            _copy(array, into, attribute)
        return
    if now.shape != part.shape:
        raise PipelineError(
            f"{attribute} of a Doc has the shape {now.shape} instead of {part.shape}",
            hint="A component has replaced it: let it keep the shape",
        )
    part[...] = now


def _differs(now: Any, zeros: Any) -> bool:
    if isinstance(zeros, list):
        return now is None or len(now) != len(zeros) or any(map(_differs, now, zeros))
    return now is not zeros or bool(zeros.any())


def _zeros_like(activations: Activations) -> Activations:
    kinds: dict[str, Any] = {kind: _zeros(getattr(activations, kind)) for kind in KINDS}
    return Activations(**kinds, lengths=activations.lengths, is_grad=True)


def _zeros(values: Gradient) -> Gradient:
    if values is None:
        return None
    if isinstance(values, list):
        return [get_array_module(each).zeros_like(each) for each in values]
    return get_array_module(values).zeros_like(values)
