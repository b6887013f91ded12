"""Everything that `trf` prints.

Requested data goes to stdout, everything else to stderr. Without a terminal there are no colors and
no progress bars, only the same facts as plain lines. rich and tqdm are imported where they are
used, so that `trf --help` doesn't wait for them.
"""

from trfcli.console.data import (
    data,
    data_json,
    data_line,
    data_lines,
    data_table,
    data_width,
)
from trfcli.console.messages import fail, good, hint, info, warn
from trfcli.console.progress import ProgressTable, progress
from trfcli.console.settings import configure, if_interrupted, settings, silence_libraries
from trfcli.console.streams import has_color, terminal_width
from trfcli.console.text import printable

__all__ = [
    "ProgressTable",
    "configure",
    "data",
    "data_json",
    "data_line",
    "data_lines",
    "data_table",
    "data_width",
    "fail",
    "good",
    "has_color",
    "hint",
    "if_interrupted",
    "info",
    "printable",
    "progress",
    "settings",
    "silence_libraries",
    "terminal_width",
    "warn",
]
