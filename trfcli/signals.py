"""Signals that ask the process to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """Raised at SIGTERM and SIGHUP, which clean up as Ctrl-C does.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Raise `Terminated` when the process is asked to end, unless it ignores that (`nohup`)."""

    def terminate(number: int, _: object) -> None:
        # Cleaning up isn't to be interrupted.
        for each in replaced:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) == signal.SIG_DFL:
                replaced[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
