"""Data-parallel training: one process per device, started by torchrun."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from trfcli_pipeline.errors import DeviceError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The rank of this process among those that train together.

    All processes shuffle the texts in the same order, and each trains on its part of every batch.
    Before each step, they sum their gradients, weighted by the sizes of the parts. So each takes
    the same step that a single process would take with the whole batch. Only the first process
    evaluates, writes files and prints.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes; 1 without torchrun.
        device: The device that messages between the processes are sent from.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @classmethod
    def join(cls, device: torch.device) -> "DistributedContext":
        """Connect to the other processes, if torchrun started any."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if device.type != "cpu":
            # torch sends objects from the device that is set here.
            torch.accelerator.set_device_index(device.index or 0)
        if not dist.is_initialized():
            dist.init_process_group(dist.get_default_backend_for_device(device))
        return cls(dist.get_rank(), dist.get_world_size(), str(device))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part(self, batch: Sequence[Item]) -> list[Item]:
        """This process's part of a batch.

        If there are more processes than items, the part is the batch's first item, whose gradient
        has no weight in `sum_gradients`: every process has to take part in the sum.
        """
        return list(batch[self.rank :: self.size]) or list(batch[:1])

    def share(self, batches: Sequence[Sequence[Any]]) -> float:
        """This process's share of the items in some batches, from 0 to 1."""
        own = sum(len(batch[self.rank :: self.size]) for batch in batches)
        return own / sum(map(len, batches))

    def sum_gradients(self, gradients: Sequence[torch.Tensor], share: float) -> None:
        """Replace gradients in place by the sum over all processes, each weighted by its share."""
        if self.size == 1:
            return
        # One message instead of hundreds. The gradients of heads may be on the CPU.
        flat = torch.cat([each.flatten().to(self.device) for each in gradients]) * share
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, summed in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def any(self, values: Sequence[bool]) -> list[bool]:
        """For each value, whether it is true in any process."""
        if self.size == 1 or not values:
            return list(values)
        found = torch.tensor(values, dtype=torch.int32, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [bool(each) for each in found.tolist()]

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float32, device=device)
        dist.all_reduce(total)
        return float(total)

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def close(self) -> None:
        """Wait for the other processes, then close the connection."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this is the process that writes files, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def own_device(name: str) -> str:
    """The device that a name stands for; "auto" is a different one in each torchrun process.

    Raises:
        DeviceError: There are more processes on this machine than accelerators.
    """
    if name != "auto" or "LOCAL_RANK" not in os.environ or not torch.accelerator.is_available():
        return name
    kind, count = torch.accelerator.current_accelerator(), torch.accelerator.device_count()
    if int(os.environ["LOCAL_RANK"]) >= count:
        raise DeviceError(
            f"torchrun started more processes than this machine has {kind} devices ({count})",
            hint=f"Use --nproc-per-node {count}, or --device cpu",
        )
    return f"{kind}:{os.environ['LOCAL_RANK']}"
