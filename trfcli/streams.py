"""Standard streams that the shell closed, which Python sets to None."""

import io
import os
import sys
from typing import NoReturn, TextIO, cast


class ClosedStream(io.TextIOBase):
    """Stands in for stdout if the shell closed it, as in `trf info >&-`."""

    @property
    def buffer(self) -> NoReturn:
        self.write("")

    def write(self, text: str) -> NoReturn:
        from trfcli_pipeline.errors import OutputError

        raise OutputError("stdout: closed", hint="Redirect it to a file, or to /dev/null")


def replace_closed_streams() -> None:
    """Give stdout and stderr a stand-in if the shell closed them."""
    if sys.stdout is None:
        sys.stdout = cast(TextIO, ClosedStream())
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf8")  # noqa: SIM115
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Or the next file that is opened would get the number, and what libraries print.
            os.open(os.devnull, os.O_RDWR)
