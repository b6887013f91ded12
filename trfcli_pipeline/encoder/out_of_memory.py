"""Makes do with the memory that there is: what doesn't fit is halved until it does."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar

import torch

from trfcli_pipeline.encoder.devices import empty_cache, is_out_of_memory
from trfcli_pipeline.errors import PipelineError


class Divisible(Protocol):
    """Work that can be done in parts, such as a sub-batch.

    Attributes:
        size: Its wordpieces, padding included.
    """

    @property
    def size(self) -> int: ...
    def halve(self) -> list[Self]:
        """Two parts of it; none if it is a single segment."""
        ...


Item = TypeVar("Item", bound=Divisible)
Result = TypeVar("Result")


def _nothing_to_release() -> bool:
    return False


class Fitting:
    """Runs work on a device in parts that fit in memory, and remembers what didn't.

    Attributes:
        most: The most wordpieces that are tried at once; no limit until memory ran out.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.most: float = math.inf

    def run(
        self,
        work: Callable[[Item], Result],
        item: Item,
        release: Callable[[], bool] = _nothing_to_release,
    ) -> Iterator[Result]:
        """Do the work on an item, or on its parts where memory doesn't suffice for the whole.

        Args:
            work: Has no effect where it fails, or none that matters when it is done again.
            release: Gives up memory that can be done without, and tells whether there was any.
                Only if there is none, the item is halved.

        Yields:
            The result for the item, or for each of its parts, in their order.

        Raises:
            PipelineError: Memory doesn't suffice for a single segment.
        """
        waiting = [item]
        while waiting:
            item = waiting.pop()
            if item.size > self.most and (parts := item.halve()):
                waiting += reversed(parts)
                continue
            try:
                result = work(item)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not release() and not self._learn(item):
                    raise PipelineError(
                        f"{self.device}: not enough memory for a segment of {item.size} wordpieces",
                        hint="Set max_length of trf_wordpiecer to less, or use another device",
                    ) from error
            else:
                yield result
                continue
            # Behind the except clause: the error's traceback held what takes the memory.
            empty_cache(self.device)
            waiting.append(item)

    def _learn(self, item: Divisible) -> bool:
        """Remember that an item was too large. Returns whether it can be smaller."""
        if not item.halve():
            return False
        self.most = min(self.most, item.size // 2)
        return True
