"""Fuzz the readers of data files and configs with atheris (not part of the test suite).

    pip install atheris
    python tests/fuzz/readers.py jsonl -max_total_time=300

The first argument is a suffix of a data file without its dot, or "cfg" for a pipeline's config. The
others are libFuzzer's. Any exception other than a `TrfError`, and any message that isn't one short
line, is a finding.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import atheris

# Only these are measured: they decide what the bytes mean.
with atheris.instrument_imports(
    include=["trfcli_pipeline", "csv", "json", "configparser", "thinc"]
):
    from thinc.api import Config

    from trfcli_pipeline.errors import TrfError
    from trfcli_pipeline.pipeline.foreign_pipelines import explain

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from data_files import reading_of

LONGEST_MESSAGE = 1000


def read_config(content: bytes) -> None:
    """Read a config as `spacy.load` does."""
    with explain("model"):
        Config().from_str(content.decode("utf-8"), interpolate=False).interpolate()


def read_data(suffix: str, content: bytes) -> None:
    """Read a data file for training and for annotating."""
    for labeled in (True, False):
        for _ in reading_of(f".{suffix}", content, labeled=labeled):
            pass


def target(kind: str) -> Callable[[bytes], None]:
    """Return the function to fuzz."""

    def run(content: bytes) -> None:
        try:
            if kind == "cfg":
                read_config(content)
            else:
                read_data(kind, content)
        except TrfError as error:
            assert len(error.message.splitlines()) == 1, error.message
            assert len(error.message) <= LONGEST_MESSAGE, error.message

    return run


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    atheris.Setup(sys.argv, target(kind))
    atheris.Fuzz()
