"""What the library remarks about data files, which it logs."""

import logging

from trfcli import console


class Remarks(logging.Handler):
    """Prints each remark once: guesses as information, and what is odd as a warning."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # A file is opened more than once: to check its beginning, and to read it.
        if message not in self._shown:
            self._shown.add(message)
            show = console.warn if record.levelno >= logging.WARNING else console.info
            show(message)


def show_remarks() -> None:
    """Print the remarks of the library from here on."""
    logger = logging.getLogger("trfcli_pipeline")
    logger.setLevel(logging.INFO)
    logger.handlers = [Remarks()]
