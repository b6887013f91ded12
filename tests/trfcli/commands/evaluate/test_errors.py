"""Errors of `trf evaluate`: one line each, before the pipeline runs."""

from pathlib import Path
from typing import Any

import pytest
from evaluate_command import TEXTS, CheckFailure, Run, Write

from trfcli_pipeline.evaluation import run as evaluation_run
from trfcli_pipeline.evaluation.results import Evaluation


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "test.jsonl"], "nowhere: there is no such directory", "trf init"),
        (["test.jsonl", "test.jsonl"], "test.jsonl: is a file, not a pipeline", "trf init"),
        (["folder", "test.jsonl"], "folder: not a spaCy pipeline", "trf init minilm"),
        (["tiny-bert", "test.jsonl"], "tiny-bert: not a spaCy pipeline", "trf init tiny-bert"),
        (["./plain", "test.jsonl"], "./plain: has no text classifier", "trf train-textcat"),
        (["exclusive", "tset.jsonl"], "tset.jsonl: no such file", "Did you mean test.jsonl?"),
        (["exclusive", "folder"], "folder/notes.txt: one text per line", "Use a table"),
        (["exclusive", "tiny-bert"], "tiny-bert: the directory of a model, not of data", "Name a"),
        (["exclusive", "empty.jsonl"], "empty.jsonl: no records", "A record is"),
        (["exclusive", "folder/notes.txt"], "folder/notes.txt: one text per line", "--delimiter"),
        (["exclusive", "test.jsonl", "-o", "folder"], "folder: a directory, not a file", "file"),
        (
            ["exclusive", "test.jsonl", "-o", "no/m.json"],
            "no: there is no such directory",
            "Create it first",
        ),
        (["exclusive", "test.jsonl", "--html", "folder"], "folder: a directory, not a", "file"),
        (["exclusive", "test.jsonl", "--html", "no/r.html"], "no: there is no such dir", "Create"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unusable_input_is_one_line_and_changes_nothing(
    workspace: Path, args: list[str], problem: str, advice: str | None, check_failure: CheckFailure
) -> None:
    check_failure(["evaluate", *args], problem, advice)


@pytest.mark.parametrize(
    ("records", "problem", "advice"),
    [
        ([*TEXTS[:2], '{"text": "a", "label"'], "data.jsonl, line 3: not valid JSON", "Each line"),
        (["{}", *TEXTS, "oops"], "data.jsonl, line 1: ", "2 of 14 records"),
        (
            [*TEXTS, {"text": "a", "lable": "BAD"}],
            "data.jsonl, line 13: the record has no",
            '"label"',
        ),
        ([{"text": 3, "label": "BAD"}], 'data.jsonl, line 1: "text" is a number', "quotes"),
        (
            ["", *TEXTS, {"text": "a", "label": "NEW"}],
            "data.jsonl: 1 label is not in the model: NEW (line 14)",
            "Known labels: BAD, GOOD",
        ),
        (
            [TEXTS[0], {"text": "a", "labels": ["BAD", "GOOD"]}],
            "data.jsonl: 1 text has several labels",
            "--multilabel",
        ),
    ],
    ids=["broken", "count", "key", "text", "label", "several"],
)
def test_bad_record_is_located_and_changes_nothing(
    workspace: Path,
    records: list[dict[str, Any] | str],
    problem: str,
    advice: str | None,
    check_failure: CheckFailure,
    write: Write,
) -> None:
    write(workspace / "data.jsonl", records)
    args = ["exclusive", "data.jsonl", "--json", "-o", "metrics.json"]
    check_failure(["evaluate", *args], problem, advice)


def test_output_is_checked_before_the_pipeline_runs(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*args: Any, **options: Any) -> Evaluation:
        raise AssertionError("the pipeline ran")

    monkeypatch.setattr(evaluation_run, "evaluate_classifier", evaluate)
    for option in ("-o", "--html"):
        result = run("evaluate", "exclusive", "test.jsonl", option, "folder")
        assert result.stderr.startswith("✘ folder: a directory, not a file\n")
    (workspace / "exclusive" / "training.jsonl").write_text("{\n")
    result = run("evaluate", "exclusive", "test.jsonl", "--html", "report.html")
    assert result.stderr.startswith("✘ exclusive/training.jsonl: Invalid JSON on line 1: {\n")
    assert not (workspace / "report.html").exists()


@pytest.mark.parametrize(
    "args",
    [
        ["exclusive"],
        ["exclusive", ""],
        ["", "test.jsonl"],
        ["exclusive", "test.jsonl", "--nonsense"],
        ["exclusive", "test.jsonl", "--threshold", "2"],
        ["exclusive", "test.jsonl", "--threshold", "-0.1"],
        ["exclusive", "test.jsonl", "--threshold", "nan"],
        ["exclusive", "test.jsonl", "--threshold", "0.3"],
        ["exclusive", "test.jsonl", "--batch-size", "0"],
        ["exclusive", "test.jsonl", "--device", "warp"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(run: Run, workspace: Path, args: list[str]) -> None:
    result = run("evaluate", *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("✘ ")
