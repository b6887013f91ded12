from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    "args",
    [
        ["in\u202efo"],
        ["--\x9b2J\u2066"],
        ["info", "--\u202ex"],
        ["init", "a", "b", "--words-per-batch", "\u202e\x1b[2J"],
        ["evaluate", "a", "b", "--threshold", "\u200f"],
    ],
    ids=ascii,
)
def test_wrong_usage_quotes_without_characters_that_a_terminal_acts_on(
    run: Run, args: list[str]
) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert all(line.isprintable() for line in result.stderr.split("\n"))


@pytest.mark.parametrize("command", ["evaluate a b", "annotate a b c", "train a b"])
def test_batch_size_of_400_digits_is_wrong_usage(run: Run, command: str) -> None:
    result = run(*command.split(), "--batch-size", "9" * 400)
    assert result.exit_code == 2
    assert "bug" not in result.stderr


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["inspect", ""], "TEXT"),
        (["predict", "model", "a text", ""], "TEXT"),
        (["evaluate", "model", ""], "DATA"),
        (["train", "", "train.jsonl"], "MODEL"),
        (["train", "model", "train.jsonl", "--dev="], "--dev"),
        (["annotate", "model", "a.jsonl", ""], "OUTPUT"),
        (["check", "a.jsonl", "--html", ""], "--html"),
        (["train", "model", "a.jsonl", "--output="], "--output"),
        (["--code", "", "info"], "--code"),
        (["info", "--code", ""], "--code"),
        # The other path is meant.
        (["package", "model", ".", "--name", ""], "--name"),
    ],
)
def test_empty_argument_is_wrong_usage(run: Run, args: list[str], name: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr == f"✘ {name} is empty\n"
