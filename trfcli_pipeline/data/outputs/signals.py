"""Signals that wait while a step must not be cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def signals_held() -> Iterator[None]:
    """Handle the signals that end a program only at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread handles signals.
        yield
        return
    received: list[int] = []

    def remember(number: int, _: object) -> None:
        received.append(number)

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # None stands for a handler that wasn't set by Python, which couldn't be set again.
    handlers = {number: signal.getsignal(number) for number in numbers}
    handlers = {number: handler for number, handler in handlers.items() if handler is not None}
    for number in handlers:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
