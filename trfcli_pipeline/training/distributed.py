"""Data-parallel training: one process per device, started by torchrun."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from thinc.api import Model, xp2torch

from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.errors import DeviceError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The rank of this process among those that train together.

    All processes shuffle the texts in the same order, and each trains on its part of every batch.
    Before each step, they sum their gradients. So each takes the same step that a single process
    would take with the whole batch. They predict the dev set together; only the first process
    scores it, writes files and prints.

    Which messages are sent must never depend on the texts: all processes wait for each one.

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
        """Make a device the current one, and connect to the other processes, if there are any.

        Call this before anything is on the device.
        """
        is_accelerator = device.type != "cpu"
        if is_accelerator:
            # The device of pinned memory, and the one that torch sends objects from.
            torch.accelerator.set_device_index(device.index or 0)
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            backend = dist.get_default_backend_for_device(device)
            dist.init_process_group(backend, device_id=device if is_accelerator else None)
        return cls(dist.get_rank(), dist.get_world_size(), str(device))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def part(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of some items. Empty if there are more processes than items."""
        return list(items[self.rank :: self.size])

    def collect(self, part: Sequence[Item]) -> list[Item]:
        """All items, from each process's part of them; the opposite of `part`."""
        parts = self.gather(part)
        items: list[Any] = [None] * sum(map(len, parts))
        for rank, each in enumerate(parts):
            items[rank :: self.size] = each
        return items

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace tensors in place by those of the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(self.device)
            dist.broadcast(sent, src=0)
            tensor.detach().copy_(sent)

    def sum_tensors(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors in place by their sums over all processes."""
        if self.size == 1 or not tensors:
            return
        # One message instead of hundreds. The gradients of heads may be on the CPU.
        flat = torch.cat([each.flatten().to(self.device) for each in tensors])
        dist.all_reduce(flat)
        for tensor, summed in zip(
            tensors, flat.split([each.numel() for each in tensors]), strict=True
        ):
            tensor.copy_(summed.view_as(tensor))

    def any(self, values: Sequence[bool]) -> list[bool]:
        """For each value, whether it is true in any process."""
        if self.size == 1 or not values:
            return list(values)
        found = torch.tensor(values, dtype=torch.int32, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [bool(each) for each in found.tolist()]

    def sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float32, device=self.device)
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


class SharedWeights:
    """The weights that all processes train, and their gradients.

    Args:
        weights: Weights of the encoder.
        head: The classifier, whose weights belong to Thinc.
    """

    def __init__(
        self, context: DistributedContext, weights: Sequence[torch.nn.Parameter], head: Model
    ) -> None:
        self.context = context
        self.weights = weights
        self.head = head

    def broadcast(self) -> None:
        """Start with the weights of the first process: other devices may have rounded theirs."""
        own = [xp2torch(node.get_param(name)) for node, name in self._head_weights()]
        self.context.broadcast([*self.weights, *own])

    def sum_gradients(self) -> None:
        """Replace the gradients by their sums over all processes."""
        if self.context.size == 1:
            return
        heads = self._head_weights()
        # A process without a part of the batch has none; one with empty texts, none of the encoder.
        has_gradient = self.context.any(
            [weight.grad is not None for weight in self.weights]
            + [bool(node.has_grad(name)) for node, name in heads]
        )
        # Views of the optimizers' own memory.
        gradients = []
        for weight in compress(self.weights, has_gradient):
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            gradients.append(weight.grad)
        for node, name in compress(heads, has_gradient[len(self.weights) :]):
            if not node.has_grad(name):
                node.set_grad(name, node.ops.xp.zeros_like(node.get_param(name)))
            gradients.append(xp2torch(node.get_grad(name)))
        self.context.sum_tensors(gradients)

    def _head_weights(self) -> list[tuple[Model, str]]:
        return [
            (node, name)
            for node in self.head.walk()
            for name in node.param_names
            if node.has_param(name)
        ]


def is_first_process() -> bool:
    """Whether this is the process that writes files, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def own_device(name: str) -> str:
    """The device that a name stands for in this process.

    "auto" and "cuda" stand for another device in each of the processes that torchrun started.

    Raises:
        DeviceError: There are more processes on this machine than devices.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if "LOCAL_RANK" not in os.environ or accelerator is None or name == "cpu":
        return name
    rank, kind = int(os.environ["LOCAL_RANK"]), accelerator.type
    # Other launchers than torchrun may not set the number of processes on this machine.
    size = int(os.environ.get("LOCAL_WORLD_SIZE", rank + 1))
    if name in ("auto", kind):
        if size > (count := torch.accelerator.device_count()):
            raise DeviceError(
                f"{size} processes were started on this machine, but it has only "
                f"{plural(count, f'{kind} device')}",
                hint=f"Use --nproc-per-node {count}, or --device cpu",
            )
        return f"{kind}:{rank}"
    if size > 1:
        raise DeviceError(
            f"{name}: {size} processes can't train on one device",
            hint="Use --device auto, so that each process takes one of its own",
        )
    return name
