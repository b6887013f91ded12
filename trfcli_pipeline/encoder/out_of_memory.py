"""Split work into smaller parts when the device runs out of memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar

import torch

from trfcli_pipeline.encoder.devices import free_bytes, release_unused
from trfcli_pipeline.errors import DeviceError, is_out_of_memory


class Divisible(Protocol):
    """Work that can be split, such as a sub-batch.

    Attributes:
        size: Number of wordpieces, padding included.
    """

    @property
    def size(self) -> int: ...
    def halve(self) -> list[Self]:
        """Split into two parts. Empty if there is only one segment."""
        ...


Item = TypeVar("Item", bound=Divisible)
Result = TypeVar("Result")


def _nothing_to_release() -> bool:
    return False


@contextmanager
def explained_out_of_memory(device: torch.device) -> Iterator[None]:
    """Raise a DeviceError if memory runs out for what can't be split any further."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{device}: not enough memory for a batch",
            hint="Use smaller batches, a smaller encoder, or another device",
        ) from error


class MemoryGuard:
    """Runs work on a device, and halves what doesn't fit in memory until it does.

    Attributes:
        max_size: The largest size to try, in wordpieces. Infinite until memory runs out.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.max_size: float = math.inf
        self._free_bytes: int | None = None

    def free_bytes(self) -> int:
        """The device's free memory when this was first called, in bytes.

        Later changes are ignored, so that they don't change how a training run divides its batches.
        """
        if self._free_bytes is None:
            self._free_bytes = free_bytes(self.device)
        return self._free_bytes

    def state_dict(self) -> dict[str, int | None]:
        """What was found out about the memory, in values that JSON can hold."""
        max_size = None if math.isinf(self.max_size) else int(self.max_size)
        return {"max_size": max_size, "free_bytes": self._free_bytes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set what `state_dict` returned."""
        self.max_size = math.inf if state["max_size"] is None else int(state["max_size"])
        self._free_bytes = state["free_bytes"]

    def run(
        self,
        work: Callable[[Item], Result],
        item: Item,
        release: Callable[[], bool] = _nothing_to_release,
    ) -> Iterator[Result]:
        """Run the work on an item, or on its parts if the whole doesn't fit.

        Args:
            work: Must be safe to repeat after a failure.
            release: Frees memory that can be recomputed, and returns whether there was any. The
                item is halved only if there was none.

        Yields:
            The result for the item, or for each of its parts, in order.

        Raises:
            DeviceError: A single segment doesn't fit.
        """
        waiting = [item]
        while waiting:
            item = waiting.pop()
            if item.size > self.max_size and (parts := item.halve()):
                waiting += reversed(parts)
                continue
            try:
                result = work(item)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not release() and not self._lower_limit(item):
                    raise DeviceError(
                        f"{self.device}: not enough memory for a segment of {item.size} wordpieces",
                        hint="Reduce max_length of trf_wordpiecer, or use another device",
                    ) from error
            else:
                yield result
                continue
            # Not in the except clause, where the error's traceback still holds the memory.
            release_unused(self.device)
            waiting.append(item)

    def _lower_limit(self, item: Divisible) -> bool:
        """Remember that an item was too large. Returns whether it can be halved."""
        if not item.halve():
            return False
        self.max_size = min(self.max_size, item.size // 2)
        return True
