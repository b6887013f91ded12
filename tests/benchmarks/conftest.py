"""The benchmarks are scripts that import each other from their own directory."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def import_as_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # Importing them sets this variable; restore it afterwards.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
