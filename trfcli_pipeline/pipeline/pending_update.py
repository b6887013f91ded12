"""An update of the encoder that waits for the heads' gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spacy.tokens import Doc
from thinc.api import Ops, Optimizer

from trfcli_pipeline.encoder.activations import Activations
from trfcli_pipeline.encoder.updates import Backprop
from trfcli_pipeline.heads.doc_gradients import (
    Gradient,
    begin_gradient,
    end_gradient,
    has_gradient,
    take_gradient,
)
from trfcli_pipeline.tokenization.extensions import doc_segments


@dataclass(slots=True)
class PendingUpdate:
    """An update to which heads may still add gradients.

    Attributes:
        docs: The Docs of the batch.
        gradients: The gradients of the whole batch, zero at first.
        parts: The part of each Doc, as a view, by the attribute of each output that the encoder
            has.
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
        outputs: Activations,
        ops: Ops,
        backprop: Backprop,
    ) -> "PendingUpdate":
        """Set arrays of zeros on the Docs, to which the heads add their gradients.

        The sums of segments have a gradient of their own only if their rows have none.

        Args:
            docs: The Docs of the batch.
            outputs: The encoder's outputs, on any device.
            ops: Thinc's ops, for the arrays.
            backprop: Runs the encoder's backward pass.
        """
        if outputs.last_hidden_state is not None:
            outputs = replace(outputs, segment_sums=None)
        zeros = _zeros_like(outputs, ops)
        split = zeros.split([len(doc_segments(doc)) for doc in docs])
        parts = {
            f"trf_{kind}": each for kind, each in split.items() if getattr(zeros, kind) is not None
        }
        for name, each in parts.items():
            for doc, part in zip(docs, each, strict=True):
                begin_gradient(doc, name, part)
        return cls(docs, zeros, parts, backprop)

    def has_gradients(self) -> bool:
        """Check whether a head has replaced a gradient, or written to one in place."""
        return any(
            has_gradient(doc, name, part)
            for doc, *parts in zip(self.docs, *self.parts.values(), strict=True)
            for name, part in zip(self.parts, parts, strict=True)
        )

    def take_gradients(self) -> Activations:
        """Collect the gradients of the Docs, and remove them from there.

        Outputs that no head has read have no gradient, so weight decay leaves a pooler alone that
        isn't trained.
        """
        read = set()
        for name, parts in self.parts.items():
            pairs = list(zip(self.docs, parts, strict=True))
            if any(has_gradient(doc, name, part) for doc, part in pairs):
                read.add(name.removeprefix("trf_"))
            for doc, part in pairs:
                take_gradient(doc, name, part)
        return self.gradients.only(read)

    def clear(self) -> None:
        """Remove the gradients from the Docs."""
        for name in self.parts:
            for doc in self.docs:
                end_gradient(doc, name)


def _zeros_like(outputs: Activations, ops: Ops) -> Activations:
    zeros = [ops.alloc(tuple(each.shape)) for each in outputs.arrays()]
    return replace(outputs.with_arrays(zeros), is_grad=True)
