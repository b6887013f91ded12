"""What long-running work is doing at the moment.

The library never prints. Work that may take seconds is a `phase`, and whoever wants to show it asks
for the `current_phase`, from any thread and as often as needed:

    with phase("Scoring", total=len(texts), unit="texts") as scoring:
        for batch in batches:
            ...
            scoring.done += len(batch)
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class Phase:
    """A part of long-running work.

    Attributes:
        title: What is being done, such as "Loading ./model".
        total: How much there is to do; None if that is unknown.
        unit: What `total` and `done` count, in the plural; "" if nothing is counted.
        done: How much is done.
        note: A fact that changes meanwhile, such as "3,412 words/s".
        done_before: How much was done when the phase began.
        start: When it began, by `time.perf_counter`.
    """

    title: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    note: str = ""
    done_before: int = field(init=False)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        self.done_before = self.done
        self.start = time.perf_counter()

    @property
    def rate(self) -> float:
        """How much is done per second."""
        return (self.done - self.done_before) / max(time.perf_counter() - self.start, 1e-9)


_running: list[Phase] = []


@contextmanager
def phase(
    title: str, *, total: int | None = None, unit: str = "", done: int = 0
) -> Iterator[Phase]:
    """Say what a `with` block does; phases may be nested. See `Phase` for the arguments."""
    entered = Phase(title, total, unit, done)
    _running.append(entered)
    try:
        yield entered
    finally:
        _running.remove(entered)


def track(
    items: Iterable[Item], title: str, *, total: int | None = None, unit: str
) -> Iterator[Item]:
    """Yield items in a phase that counts them. An item is done when the next one is asked for."""
    with phase(title, total=total, unit=unit) as entered:
        for item in items:
            yield item
            entered.done += 1


def current_phase() -> Phase | None:
    """Return the innermost phase, if there is one."""
    # A copy, because another thread may end phases meanwhile.
    return next(reversed(_running.copy()), None)
