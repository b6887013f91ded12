"""Runs the commands that README and docs show, without a shell and in this process."""

import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

from spacy.training.initialize import init_nlp
from spacy.util import load_config
from typer.testing import CliRunner

from trfcli.app import app

# Commands that install packages, which the tests don't do
SKIPPED = {"make", "pip", "source"}


def run_command(line: str) -> str:
    """Run one command of a page: a pipe of programs, the last of which may write to a file.

    Returns: What it prints.
    """
    parts, target = _split(line)
    output = ""
    for name, *arguments in parts:
        output = _run(name, arguments, output, line)
    if target is not None:
        Path(target).write_text(output, encoding="utf8")
    return output


def _split(line: str) -> tuple[list[list[str]], str | None]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    target = None
    words = iter(lexer)
    for word in words:
        if word == "|":
            parts.append([])
        elif word == ">":
            target = next(words)
        else:
            parts[-1].append(word)
    return parts, target


def _run(name: str, arguments: list[str], given: str, line: str) -> str:
    if name in SKIPPED:
        return ""
    match [name, *arguments]:
        case ["echo", *words]:
            return " ".join(words) + "\n"
        case ["cat", path]:
            return Path(path).read_text(encoding="utf8")
        case ["head", "-n", count, path]:
            lines = Path(path).read_text(encoding="utf8").splitlines(keepends=True)
            return "".join(lines[: int(count)])
        case ["python", script, *options] if script.endswith(".py"):
            command = [sys.executable, script, *options]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        case ["python", "-m", "spacy", "train", config, *options]:
            return _start_spacy_train(config, options)
        case ["trf", *options]:
            result = CliRunner().invoke(app, options, input=given)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            return result.output
    raise AssertionError(f"{line}: no test knows how to run {name}")


def _start_spacy_train(path: str, options: list[str]) -> str:
    """Do what `spacy train` does before its first step, to check config and data."""
    overrides = {
        name.removeprefix("--"): value
        for name, value in zip(options[::2], options[1::2], strict=True)
        if name != "--output"
    }
    config = load_config(path, overrides=overrides, interpolate=False)
    init_nlp(config)
    return ""


def run_python(code: str, namespace: dict[str, object], name: str) -> str:
    """Run a block of Python; returns what it prints."""
    stdout, sys.stdout = sys.stdout, StringIO()
    try:
        exec(compile(code, name, "exec"), namespace)
        return sys.stdout.getvalue()
    finally:
        sys.stdout = stdout
