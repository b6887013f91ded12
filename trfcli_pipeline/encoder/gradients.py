"""Adds up the gradients of an encoder's weights over several backward passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

# A gradient for each weight of a module that is trained, or None where there is none.
Found = list[torch.Tensor | None]


@contextmanager
def sparse_embeddings(module: torch.nn.Module) -> Iterator[None]:
    """Let embeddings on a CPU give sparse gradients, of the rows that were looked up.

    These are a few hundred of tens of thousands. The dense gradient, made anew in each backward
    pass, takes a sixth of the time of a step.
    """
    parts = [part for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    before = [part.sparse for part in parts]
    try:
        for part in parts:
            part.sparse = part.weight.device.type == "cpu"
        yield
    finally:
        for part, sparse in zip(parts, before, strict=True):
            part.sparse = sparse


def add_up(total: Found, found: Sequence[torch.Tensor | None]) -> None:
    """Add what one backward pass found to a total, in place."""
    for index, gradient in enumerate(found):
        so_far = total[index]
        if so_far is None:
            total[index] = gradient
        elif gradient is not None:
            so_far += gradient


class Gradients:
    """The `grad` of each weight of a module that is trained. They are always dense.

    The arrays for sparse ones are kept from one step to the next: they are as large as the
    weights, and new memory is mapped page by page.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._dense: dict[torch.Tensor, torch.Tensor] = {}

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        return [each for each in self._module.parameters() if each.requires_grad]

    def add(self, found: Sequence[torch.Tensor | None]) -> None:
        """Add one gradient, or None, for each of the weights."""
        for weight, gradient in zip(self.weights, found, strict=True):
            if gradient is None:
                continue
            if gradient.is_sparse:
                if weight.grad is None:
                    weight.grad = self._zeros(weight)
                # Not `weight.grad += gradient`, which would sort the rows first.
                weight.grad.index_add_(0, gradient._indices()[0], gradient._values())
            elif weight.grad is None:
                weight.grad = gradient
            else:
                weight.grad += gradient

    def _zeros(self, weight: torch.Tensor) -> torch.Tensor:
        if weight not in self._dense:
            self._dense[weight] = torch.empty_like(weight)
        return self._dense[weight].zero_()
