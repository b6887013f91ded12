"""Training on several devices at once: one process for each, as torchrun starts them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """This process's place among those that train together.

    All of them shuffle alike, and each trains on its own part of every batch. Gradients are summed
    before each step, weighted by the sizes of the parts, so that all take the step that one process
    would take with the whole batch. The first evaluates, writes and speaks.

    Attributes:
        rank: Counted from 0.
        size: How many processes there are; 1 without torchrun.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "DistributedContext":
        """Meet the other processes, if torchrun started some."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group(dist.get_default_backend_for_device(device))
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part(self, batch: Sequence[Item]) -> list[Item]:
        """This process's part of a batch.

        Where there are more processes than items the part of some has one item all the same, which
        has no weight in `sum_gradients`: a process can't sit out the summing.
        """
        return list(batch[self.rank :: self.size]) or list(batch[:1])

    def share(self, batches: Sequence[Sequence[Any]]) -> float:
        """Which share of these batches' items is this process's."""
        own = sum(len(batch[self.rank :: self.size]) for batch in batches)
        return own / sum(map(len, batches))

    def sum_gradients(self, gradients: Sequence[torch.Tensor], share: float) -> None:
        """Replace gradients, in place, by the weighted sum of all processes' gradients."""
        if self.size == 1:
            return
        # One message in place of hundreds.
        flat = torch.cat([gradient.flatten() for gradient in gradients]) * share
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, summed in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float32, device=device)
        dist.all_reduce(total)
        return float(total)

    def from_first(self, value: Value) -> Value:
        """What the first process has for a value."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in their order."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def part_company(self) -> None:
        """Wait until all have come this far, and end the connection."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()


def own_device(name: str) -> str:
    """The device of this process: where torchrun started several, each has one of its own."""
    if name != "auto" or "LOCAL_RANK" not in os.environ or not torch.accelerator.is_available():
        return name
    return f"{torch.accelerator.current_accelerator()}:{os.environ['LOCAL_RANK']}"
