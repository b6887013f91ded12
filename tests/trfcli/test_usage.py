from collections.abc import Callable

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("train m t --coverage 2", "--coverage 2: must be from 0.01 to 1"),
        ("train m t --coverage nan", "--coverage nan: must be from 0.01 to 1"),
        (
            "train m t --min-accuracy nonsense",
            "--min-accuracy nonsense: must be a number, from 0.01 to 0.999",
        ),
        ("explain m t --steps 0", "--steps 0: must be from 1 to 1,000"),
        ("explain m t --steps 1.5", "--steps 1.5: must be a whole number, from 1 to 1,000"),
        ("forecast m t --more 0", "--more 0: must be at least 1"),
        ("suggest m t -n 0", "-n: from 1 to 5,000 texts can be suggested, not 0"),
        ("suggest m t -n x", "--number x: must be a whole number"),
        (
            "suggest m t --seed 4294967296",
            "--seed 4294967296: must be from 0 to 4,294,967,295",
        ),
        ("evaluate m t --threshold=", "--threshold is empty"),
        (
            "optimize m o --precision int4",
            "--precision: 'int4' is not one of 'auto', 'int8', 'bf16', 'fp16', 'tf32', 'fp32'",
        ),
        ("evaluate m t --batch-size", "Option '--batch-size' requires an argument"),
        ("evaluate m t --thresold 1", "No such option: --thresold. Did you mean --threshold?"),
        ("info --verify", "--verify needs a MODEL"),
    ],
    ids=str,
)
def test_bad_option_is_one_line(run: Run, args: str, line: str) -> None:
    result = run(*args.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"✘ {line}\n"


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ("evaluate m", ["DATA is missing", "Usage: trf evaluate [OPTIONS] MODEL DATA..."]),
        (
            "init a b c",
            ["Got unexpected extra argument(s) (c)", "Usage: trf init [OPTIONS] NAME OUT"],
        ),
        ("train m t --nope", ["No such option: --nope", "All options: trf train --help"]),
        ("--nope", ["No such option: --nope", "All options: trf --help"]),
        ("nope", ["No such command 'nope'", "All commands: trf --help"]),
    ],
    ids=str,
)
def test_other_wrong_usage_has_a_hint(run: Run, args: str, lines: list[str]) -> None:
    result = run(*args.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [f"✘ {lines[0]}", f"  {lines[1]}"]


def test_value_of_an_environment_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRF_DEBUG", "maybe")
    result = run("info")
    assert result.exit_code == 2
    assert result.stderr.startswith("✘ --debug: ")
