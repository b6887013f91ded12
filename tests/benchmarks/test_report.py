import importlib
import json
from pathlib import Path
from typing import Any

import pytest

PLAIN = "plain transformers"


def line(contestant: str, **metrics: Any) -> dict[str, Any]:
    return {"benchmark": "textcat", "contestant": contestant, "data": "films", **metrics}


RESULTS = [
    {
        "benchmark": "textcat",
        "command": "python run.py textcat films",
        "machine": {"processor": "CPU", "cores": 2, "memory_gb": 8.0, "system": "Linux"},
        "threads": 2,
    },
    *(
        line("trf", round=n, accuracy=accuracy, train_s=seconds, versions={"torch": "2.13.0"})
        for n, (accuracy, seconds) in enumerate([(0.9, 2.0), (0.8, 1.0), (0.95, 4.0)])
    ),
    line(PLAIN, round=0, accuracy=0.85, train_s=4.0, versions={"torch": "2.13.0"}),
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in RESULTS))
    return path


def test_tables_have_medians_ranges_and_ratios(results: Path, tmp_path: Path) -> None:
    importlib.import_module("report").main([str(results)], tmp_path / "B.md")
    text = (tmp_path / "B.md").read_text()
    rows = [each for each in text.splitlines() if each.startswith("|")]
    assert rows == [
        f"|  | accuracy or micro F (%) | training time (s) | training time (s) ÷ {PLAIN} |",
        "| --- | ---: | ---: | ---: |",
        "| trf | 90.0 (80.0–95.0) | 2.0 (1.0–4.0) | 0.50 |",
        f"| {PLAIN} | 85.0 | 4.0 | 1.00 |",
    ]
    assert "films, 3 rounds:" in text
    assert "```\npython run.py textcat films\n```" in text
    assert "- CPU, 2 cores, 8.0 GB, Linux; 2 threads\n- torch 2.13.0\n" in text
    # There are no results for this table.
    assert "## Few texts" not in text


def test_text_written_by_hand_is_kept(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "B.md"
    output.write_text("# Old\n\nold tables\n\n## What was tried and did not help\n\nThis.\n")
    for _ in range(2):
        importlib.import_module("report").main([str(results)], output)
        text = output.read_text()
        assert text.startswith("# Benchmarks\n")
        assert "old tables" not in text
        assert text.endswith("\n- torch 2.13.0\n\n## What was tried and did not help\n\nThis.\n")


def test_results_are_not_overwritten(results: Path) -> None:
    before = results.read_text()
    with pytest.raises(SystemExit, match="the last argument is the "):
        importlib.import_module("report").main([], results)
    assert results.read_text() == before
