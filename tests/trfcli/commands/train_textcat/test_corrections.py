"""Training with corrected labels."""

import json
from pathlib import Path

import pytest
from train_command import TEXTS, CheckFailure, Run, Write, training_of

OPTIONS = ("--epochs", "1", "--freeze-encoder", "--device", "cpu")


def correction(number: int, label: str | None) -> dict[str, str | None]:
    row = TEXTS[number]
    return {"text": row["text"], "given": row["label"], "suggested": "BAD", "label": label}


def test_labels_are_corrected_and_the_file_is_recorded(
    workspace: Path, run: Run, write: Write
) -> None:
    write(workspace / "c.jsonl", [correction(0, "GOOD"), correction(2, None)])
    result = run("train", "model", "train.jsonl", "--corrections", "c.jsonl", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "1 label corrected, 1 text left out (c.jsonl)" in result.stderr
    training = training_of(workspace / "model")
    assert training["corrections"] == "c.jsonl"
    assert list(training["data"]) == ["train.jsonl", "c.jsonl"]
    assert training["texts"] + training["dev_texts"] == len(TEXTS) - 1


def test_other_corrections_are_another_training(workspace: Path, run: Run, write: Write) -> None:
    args = ("train", "model", "train.jsonl", "-o", "out", "--corrections", "c.jsonl", *OPTIONS)
    write(workspace / "c.jsonl", [correction(0, "GOOD")])
    assert run(*args).exit_code == 0
    assert "already finished" in run(*args, "--resume").stderr
    write(workspace / "c.jsonl", [correction(2, "GOOD")])
    assert "already finished" not in run(*args, "--resume").stderr


@pytest.mark.parametrize(
    ("rows", "problem", "advice"),
    [
        (None, "c.jsonl: no such file", "trf check DATA --output"),
        ([{"text": "great", "label": "BAD"}], "c.jsonl, line 1: not a correction", "trf check"),
        ([{"text": "new", "given": "BAD", "label": "GOOD"}], "the text isn't in", "remove"),
        ([correction(0, "GODO")], "the label GODO isn't in", "Did you mean GOOD?"),
    ],
)
def test_unusable_corrections(
    rows: list[dict[str, str]] | None,
    problem: str,
    advice: str,
    workspace: Path,
    check_failure: CheckFailure,
) -> None:
    if rows is not None:
        text = "\n".join(map(json.dumps, rows))
        (workspace / "c.jsonl").write_text(text, encoding="utf8")
    check_failure(["train", "model", "train.jsonl", "--corrections", "c.jsonl"], problem, advice)
