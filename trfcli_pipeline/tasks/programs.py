"""Run other programs."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_program(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program without input, and return what it printed, whether it succeeded or not.

    Args:
        command: The program and its arguments.
        cwd: The directory to run it in, by default the current one.
        env: Its environment variables, by default those of this process.
    """
    return subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def last_error(result: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program printed to stderr."""
    return (result.stderr.strip().splitlines() or ["no output"])[-1]
