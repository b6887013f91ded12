"""The benchmarks are programs beside each other, which find each other as such."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def as_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    # What importing them sets for their own process.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
