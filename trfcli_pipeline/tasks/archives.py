"""Build the archives of a package: the same input gives the same bytes.

hatchling sorts the entries, and fixes their modes, owners and timestamps. It runs without network
access, in a process of its own.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trfcli_pipeline.errors import OutputError
from trfcli_pipeline.tasks.programs import run_program

# With the pattern of their names, in the order of listings.
ARCHIVES = {"sdist": "*.tar.gz", "wheel": "*.whl"}

# The timestamp of all entries: 2020-02-02, hatchling's default.
_TIMESTAMP = 1_580_601_600
# gzip stores the timestamp in 32 bits.
_MAX_TIMESTAMP = 2**32
# A wheel is a ZIP file, whose times begin in 1980.
_MIN_TIMESTAMP = 315_532_800
_SHOWN_LINES = 15


def build_archives(source: Path, directory: Path, formats: Sequence[str]) -> list[Path]:
    """Build the archives of a package with a pyproject.toml that names hatchling.

    Args:
        source: Directory of the package.
        directory: Where to put the archives. It is created, or has no archives.
        formats: Names in `ARCHIVES`.

    Returns:
        The archives in the order of `ARCHIVES`.

    Raises:
        OutputError: The build failed, or SOURCE_DATE_EPOCH is invalid.
    """
    targets = [word for form in ARCHIVES if form in formats for word in ("--target", form)]
    result = run_program(
        # With -P, no directory in the package hides a module of the same name.
        [sys.executable, "-P", "-m", "hatchling", "build", "--directory", str(directory), *targets],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(timestamp())},
    )
    if result.returncode != 0:
        lines = f"{result.stdout}{result.stderr}".strip().splitlines()[-_SHOWN_LINES:]
        raise OutputError(f"Building {source.name} failed", hint="\n".join(lines))
    return [path for pattern in ARCHIVES.values() for path in directory.glob(pattern)]


def timestamp() -> int:
    """The time that archives record: SOURCE_DATE_EPOCH if it is set, otherwise a fixed one.

    Raises:
        OutputError: SOURCE_DATE_EPOCH isn't a number of seconds that archives can store.

    Source:
        https://reproducible-builds.org/specs/source-date-epoch/
    """
    value = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not value:
        return _TIMESTAMP
    if not (value.isascii() and value.isdecimal() and int(value[:11]) < _MAX_TIMESTAMP):
        raise OutputError(
            f"SOURCE_DATE_EPOCH: {value!r} is not a time in seconds since 1970 that archives can "
            "store",
            hint="Set it to a number such as 1767225600, or unset it",
        )
    return max(int(value), _MIN_TIMESTAMP)
