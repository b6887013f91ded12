"""Unusable input and wrong usage."""

import re
from pathlib import Path
from typing import Any

import pytest
from train_command import DEV, LABELS, TEXTS, CheckFailure, Digest, Run, Write


@pytest.mark.parametrize(
    ("args", "problem", "advice"),
    [
        (["nowhere", "train.jsonl"], "nowhere: there is no such directory", "trf init minilm"),
        (["folder", "train.jsonl"], "not a spaCy pipeline", ""),
        (["tiny-bert", "train.jsonl"], "not a spaCy pipeline", ""),
        (["train.jsonl", "train.jsonl"], "train.jsonl: ", ""),
        (["model", "trian.jsonl"], "trian.jsonl: no such file", "Did you mean train.jsonl?"),
        (["model", "folder"], "folder/notes.txt: one text per line", "Use a table"),
        (["model", "tiny-bert"], "tiny-bert: the directory of a model, not of data", "Name a"),
        (["model", "train.jsonl", "surplus"], "surplus: no such file", None),
        (["model", "empty.jsonl"], "empty.jsonl: no records", "A record is"),
        (["model", "folder/notes.txt"], "folder/notes.txt: one text per line", "--delimiter"),
        (["model", "train.jsonl", "--dev", "dve.jsonl"], "dve.jsonl: no such file", "dev.jsonl"),
        (
            ["model", "train.jsonl", "--dev", "empty.jsonl"],
            "empty.jsonl: no records",
            "A record is",
        ),
        (["model", "train.jsonl", "-o", "folder"], "folder: exists and is not a spaCy", "another"),
        (["model", "train.jsonl", "-o", "dev.jsonl"], "dev.jsonl: is a file", "directory"),
        (
            ["model", "train.jsonl", "-c", "no.cfg"],
            "no.cfg: no such file",
            "--config",
        ),
        (
            ["model", "train.jsonl", "-c", "folder/notes.txt"],
            "folder/notes.txt, line 1: not valid",
            "textcat.cfg",
        ),
        (["model", "train.jsonl", "-c", "model/config.cfg"], "model/config.cfg: lacks", "configs/"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unusable_input_is_one_line_and_changes_nothing(
    workspace: Path, args: list[str], problem: str, advice: str | None, check_failure: CheckFailure
) -> None:
    check_failure(["train", *args], problem, advice)


@pytest.mark.parametrize(
    ("records", "problem", "advice"),
    [
        ([*TEXTS[:2], '{"text": "a", "label"'], "data.jsonl, line 3: not valid JSON", "Each line"),
        ([*TEXTS, "oops", *TEXTS, "{}"], "data.jsonl, line 25: not valid JSON", "lines 25, 50"),
        (
            [*TEXTS, {"text": "a", "lable": "BAD"}],
            "data.jsonl, line 25: the record has no",
            '"label"',
        ),
        (
            [*TEXTS, {"text": 3, "label": "BAD"}],
            'data.jsonl, line 25: "text" is a number',
            "quotes",
        ),
        (
            [*TEXTS, {"text": "a", "label": ["BAD", None]}],
            'data.jsonl, line 25: null in "label"',
            "name",
        ),
        (TEXTS[::2], "data.jsonl: all texts have the same label, BAD", "at least two"),
        (TEXTS[:2], "data.jsonl: too few texts", "Give a file with --dev"),
    ],
    ids=["broken", "count", "key", "text", "label", "one label", "few"],
)
def test_unusable_record_is_named_and_changes_nothing(
    workspace: Path,
    records: list[dict[str, Any] | str],
    problem: str,
    advice: str | None,
    check_failure: CheckFailure,
    write: Write,
) -> None:
    write(workspace / "data.jsonl", records)
    check_failure(["train", "model", "data.jsonl"], problem, advice)
    check_failure(["train", "model", "data.jsonl", "-o", "trained"], problem, advice)


def test_labels_only_in_the_dev_set_are_named(
    workspace: Path, check_failure: CheckFailure, write: Write
) -> None:
    write(workspace / "dev.jsonl", [*DEV, {"text": "so so", "label": "MIXED"}])
    args = ["model", "train.jsonl", "--dev", "dev.jsonl"]
    problem = "dev.jsonl: 1 label is not in the training data: MIXED (line 3)"
    check_failure(["train", *args], problem, "dev.jsonl")


def test_several_labels_contradict_exclusive(
    workspace: Path, check_failure: CheckFailure, write: Write
) -> None:
    write(workspace / "train.jsonl", [*TEXTS, {"text": "both", "labels": LABELS}])
    args = ["model", "train.jsonl", "--exclusive"]
    check_failure(["train", *args], "train.jsonl, line 25: 2 labels", "--multilabel")


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--epochs", "0"],
        ["--batch-size", "0"],
        ["--learn-rate", "-1e-5"],
        ["--learn-rate", "nan"],
        ["--dev-split", "1"],
        ["--seed", "-1"],
        ["--patience", "-1"],
        ["--eval-every", "0"],
        ["--max-texts", "0"],
        ["--freeze-layers", "-1"],
        ["--lora", "0"],
        ["--precision", "fp8"],
        ["--max-texts", "many"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(
    run: Run, workspace: Path, options: list[str], digest: Digest
) -> None:
    before = digest(workspace)
    result = run("train", "model", "train.jsonl", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("✘ ")
    assert digest(workspace) == before


def test_options_that_contradict_each_other_are_wrong_usage(
    run: Run, workspace: Path, digest: Digest
) -> None:
    before = digest(workspace)
    options = ["--lora", "8", "--freeze-layers", "1", "--freeze-encoder"]
    result = run("train", "model", "train.jsonl", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "✘ --freeze-layers and --lora can't be combined with --freeze-encoder, which trains the "
        "classifier only",
        "  Leave out one or the other",
    ]
    assert digest(workspace) == before


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("--freeze-layers", "2", "--freeze-encoder"),
        ("--segments", "words", "windows"),
        ("--architecture", "cnn", "softmax_last_hidden"),
        ("--device", "warp", "cpu"),
    ],
)
def test_value_that_an_option_does_not_take_is_wrong_usage(
    run: Run, workspace: Path, digest: Digest, option: str, value: str, advice: str
) -> None:
    before = digest(workspace)
    result = run("train", "model", "train.jsonl", option, value)
    assert result.exit_code == 2
    problem, hint = result.stderr.splitlines()[-2:]
    assert problem.startswith(f"✘ {option} {value}: ")
    assert advice in hint
    assert digest(workspace) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lern-rate", "1e-5"], "No such option: --lern-rate. Did you mean --learn-rate?"),
        (
            ["--focal-gamma=2"],
            "No such option: --focal-gamma. Did you mean --components.trf_textcat.focal_gamma?",
        ),
        (["--nonsense"], "No such option: --nonsense"),
        (
            ["--training.dropout", "0.1", "--training.dropout=0.2"],
            "--training.dropout is given twice",
        ),
    ],
    ids=str,
)
def test_unknown_option_suggests_what_was_meant(
    run: Run, workspace: Path, options: list[str], message: str
) -> None:
    result = run("train", "model", "train.jsonl", *options)
    assert result.exit_code == 2
    # Without the lines of the box around it.
    assert message in re.sub(r"[\s│]+", " ", result.stderr)


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        (
            ["--training.dropuot", "0.1"],
            [
                "✘ --training.dropuot: the config has no such setting",
                "  Did you mean --training.dropout?",
            ],
        ),
        (["--training.dropout=2"], ["✘ --training.dropout 2: must be from 0 to 1"]),
        (
            ["--training.optimizer.use_averages=some"],
            ["✘ --training.optimizer.use_averages some: must be true or false"],
        ),
        (
            ["--training.optimizer.trf_lr", "abc"],
            ["✘ --training.optimizer.trf_lr abc: must be a number"],
        ),
        (
            ["--training.optimizer.trf_lr", "--quiet"],
            ["✘ --training.optimizer.trf_lr true: must be a number (is a value missing?)"],
        ),
        (
            ["--dev", "dev.jsonl", "--dev-split", "0.2"],
            [
                "✘ --dev-split can't be combined with --dev: no training texts are held out then",
                "  Leave out one or the other",
            ],
        ),
    ],
    ids=str,
)
def test_wrong_override_is_wrong_usage(
    run: Run, workspace: Path, digest: Digest, override: list[str], lines: list[str]
) -> None:
    before = digest(workspace)
    result = run("train", *override, "model", "train.jsonl")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == lines
    assert digest(workspace) == before


def test_number_of_400_digits_is_wrong_usage(run: Run, workspace: Path, digest: Digest) -> None:
    before = digest(workspace)
    result = run("train", "model", "train.jsonl", "--epochs", "9" * 400)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"✘ training.max_epochs = {'9' * 39}…: must be at most 2,147,483,647",
        "  Correct the option",
    ]
    assert digest(workspace) == before
