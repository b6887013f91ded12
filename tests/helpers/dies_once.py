"""A function whose first worker is killed."""

import os
import signal
from pathlib import Path


class DiesOnce:
    """Squares numbers, but kills the process of the first worker that gets to 5."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __call__(self, number: int) -> int:
        if number == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number
