"""Accumulate the gradients of an encoder's weights over several backward passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

# For each trained weight of a module, its gradient, or None if it has none.
WeightGradients = list[torch.Tensor | None]


@contextmanager
def sparse_embeddings(parts: Sequence[torch.nn.Embedding]) -> Iterator[None]:
    """Compute the gradients of embeddings for the looked-up rows only.

    A batch looks up a few hundred of tens of thousands of rows. On a CPU, allocating a dense
    gradient in each backward pass takes a sixth of the time of a step.
    """
    before = [part.sparse for part in parts]
    try:
        for part in parts:
            part.sparse = True
        yield
    finally:
        for part, sparse in zip(parts, before, strict=True):
            part.sparse = sparse


def add_gradients(total: WeightGradients, gradients: Sequence[torch.Tensor | None]) -> None:
    """Add the gradients of one backward pass to a total, in place."""
    for index, gradient in enumerate(gradients):
        so_far = total[index]
        if so_far is None:
            total[index] = gradient
        elif gradient is not None:
            so_far += gradient


class GradientAccumulator:
    """Accumulates dense gradients in the `grad` of each trained weight.

    The buffers for sparse gradients are kept from one step to the next: they are as large as the
    weights, and new memory would be mapped page by page.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._buffers: dict[torch.Tensor, torch.Tensor] = {}
        # Looking for them in all parts of the module takes a millisecond.
        self._parameters: list[torch.nn.Parameter] = []

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """The trained weights."""
        self._parameters = self._parameters or list(self._module.parameters())
        return [each for each in self._parameters if each.requires_grad]

    def add(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Add a gradient, or None, for each of `weights`."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            if gradient is None:
                continue
            if gradient.is_sparse:
                if weight.grad is None:
                    weight.grad = self._zeros(weight)
                # `weight.grad += gradient` would sort the rows first.
                weight.grad.index_add_(0, gradient._indices()[0], gradient._values())
            elif weight.grad is None:
                weight.grad = _laid_out_like(weight, gradient)
            else:
                weight.grad += gradient

    def _zeros(self, weight: torch.Tensor) -> torch.Tensor:
        if weight not in self._buffers:
            self._buffers[weight] = torch.empty_like(weight)
        return self._buffers[weight].zero_()


def _laid_out_like(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The gradient in the memory layout of its weight, which AdamW requires on a GPU."""
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)
