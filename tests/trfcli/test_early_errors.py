"""Errors that need no model come before torch and spaCy are imported, which takes seconds."""

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "spacy", "thinc", "transformers"}
NO_FILE, NO_COLUMN = "no such file", "which column has the text?"
NO_PIPELINE = "there is no such directory"
COMMANDS = [
    ("train pipeline nosuch.csv", NO_FILE),
    ("train pipeline columns.csv", NO_COLUMN),
    ("train pipeline good.jsonl --dev columns.csv", NO_COLUMN),
    ("train nosuch good.jsonl", NO_PIPELINE),
    ("train encoder good.jsonl", "not a spaCy pipeline"),
    ("train pipeline good.jsonl --lora 4 --freeze-encoder", "can't be combined"),
    ("evaluate pipeline nosuch.csv", NO_FILE),
    ("evaluate pipeline columns.csv", NO_COLUMN),
    ("evaluate pipeline bad.jsonl", "bad.jsonl, line 2"),
    ("evaluate nosuch good.jsonl", NO_PIPELINE),
    ("evaluate pipeline good.jsonl -o nosuch/metrics.json", NO_PIPELINE),
    ("evaluate pipeline good.jsonl -o good.jsonl", "is the input"),
    ("evaluate pipeline good.jsonl --html bad.jsonl", "is not a report"),
    ("compare pipeline pipeline nosuch.csv", NO_FILE),
    ("compare pipeline nosuch good.jsonl", NO_PIPELINE),
    ("compare pipeline pipeline bad.jsonl", "bad.jsonl, line 2"),
    ("annotate pipeline nosuch.csv out.jsonl", NO_FILE),
    ("annotate pipeline columns.csv out.jsonl", NO_COLUMN),
    ("annotate pipeline bad.jsonl out.jsonl", "bad.jsonl, line 2"),
    ("annotate nosuch good.jsonl out.jsonl", NO_PIPELINE),
    ("annotate pipeline good.jsonl out.odt", "unknown suffix"),
    ("annotate pipeline good.jsonl good.jsonl", "is the input"),
    ("optimize pipeline ./fast --calibrate nosuch.csv", NO_FILE),
    ("optimize pipeline ./fast --calibrate good.jsonl --dev columns.csv", NO_COLUMN),
    ("package nosuch ./out", NO_PIPELINE),
    ("package pipeline ./out --half --texts nosuch.csv", NO_FILE),
    ("benchmark pipeline nosuch.csv", NO_FILE),
    ("benchmark nosuch", NO_PIPELINE),
    ("info nosuch", NO_PIPELINE),
    ("predict nosuch text", NO_PIPELINE),
    ("init ./nosuch ./out", NO_PIPELINE),
    ("init encoder folder", "exists and is not a spaCy pipeline"),
    ("init encoder ./out --name 0", "can't be part of the name of a package"),
]
# Prints the errors of all commands, and after each the heavy modules that are imported by then.
PROGRAM = f"""
import shlex, sys
from typer.testing import CliRunner
from trfcli.app import app
for command in sys.argv[1:]:
    result = CliRunner().invoke(app, shlex.split(command))
    print(result.exit_code, result.stderr.splitlines()[0])
    print(*sorted({HEAVY!r} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """For each command its error, and the heavy modules that it imported."""
    folder = tmp_path_factory.mktemp("folder")
    for path in ("pipeline/config.cfg", "encoder/config.json", "folder/notes.txt"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("{}")
    good = json.dumps({"text": "I love it", "label": "GOOD"})
    (folder / "good.jsonl").write_text(f"{good}\n")
    (folder / "bad.jsonl").write_text(f"{good}\n{{}}\n")
    (folder / "columns.csv").write_text("a,b\nx,y\n")
    commands = [command for command, _ in COMMANDS]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *commands],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = iter(result.stdout.splitlines())
    return {command: (error, next(lines)) for command, error in zip(commands, lines, strict=False)}


@pytest.mark.parametrize(("command", "problem"), COMMANDS)
def test_error_comes_before_heavy_imports(
    outcomes: dict[str, tuple[str, str]], command: str, problem: str
) -> None:
    error, imported = outcomes[command]
    assert error.startswith(("1 ✘ ", "2 ✘ "))
    assert problem in error
    assert imported == ""
