"""The option --code of every command."""

from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from own_code import FAILING_LINE, forget_code, write_code
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory: a pipeline, and the code that it needs."""
    forget_code(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_code(Path("functions.py"))
    model = Path("model")
    spacy.blank("xx").to_disk(model)
    config = (model / "config.cfg").read_text().replace("pipeline = []", 'pipeline = ["loudness"]')
    section = '[components]\n\n[components.loudness]\nfactory = "loudness"'
    (model / "config.cfg").write_text(config.replace("[components]", section))


@pytest.mark.parametrize(
    "args",
    [
        ["info", "model", "--code", "functions.py"],
        ["--code", "functions.py", "info", "model"],
    ],
)
def test_a_pipeline_can_use_functions_of_a_file(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 0
    assert "loudness" in result.stdout


def test_without_the_file_the_pipeline_cannot_be_loaded(run: Run) -> None:
    result = run("info", "model")
    assert result.exit_code == 1
    assert "model: can't be loaded: [E002] Can't find factory for 'loudness'" in result.stderr


def test_an_error_in_the_file_is_one_line(run: Run) -> None:
    write_code(Path("functions.py"), "import os\n1 / 0\n")
    result = run("info", "--code", "functions.py")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "✘ functions.py, line 2: ZeroDivisionError: division by zero",
        "  Correct the file",
    ]


def test_an_error_of_a_function_is_one_line(run: Run) -> None:
    Path("texts.jsonl").write_text('{"text": "What!"}\n{"text": ""}\n')
    result = run("annotate", "model", "texts.jsonl", "out.jsonl", "--code", "functions.py")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2].startswith(f"✘ functions.py, line {FAILING_LINE}: ")


def test_a_package_has_a_copy_of_the_file(run: Run) -> None:
    result = run("--code", "functions.py", "package", "model", "out", "--build", "none")
    assert result.exit_code == 0
    (package,) = Path("out").glob("*/xx_pipeline")
    assert (package / "functions.py").read_bytes() == Path("functions.py").read_bytes()
    assert "\nfrom . import functions\n" in (package / "__init__.py").read_text()


def test_a_file_that_cannot_be_a_module_is_not_packaged(run: Run) -> None:
    write_code(Path("my-functions.py"))
    result = run("package", "model", "out", "--code", "my-functions.py")
    assert result.exit_code == 2
    assert "✘ my-functions.py: 'my-functions' can't be the name of a module" in result.stderr
    assert not Path("out").exists()
