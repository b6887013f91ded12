"""How torch's threads wait for each other in commands."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="torch has libgomp on Linux only")
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"OMP_WAIT_POLICY": "passive"}, "0"),
    ],
)
def test_threads_that_wait_give_up_their_cores_soon(
    variables: dict[str, str], expected: str
) -> None:
    """libgomp itself says what it uses: it reads its settings once, when torch is imported."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    shown = subprocess.run(
        [sys.executable, "-m", "trfcli", "info"],
        env={**inherited, **variables, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert f"GOMP_SPINCOUNT = '{expected}'" in shown
