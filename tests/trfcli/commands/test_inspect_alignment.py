import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]
Report = dict[str, Any]


@pytest.fixture
def calls(inspection: ModuleType, cafes: Report) -> list[tuple[str, str]]:
    """Calls of the library."""
    asked = []

    def inspect_alignment(text: str, model: str) -> Report:
        asked.append((text, model))
        return cafes

    inspection.inspect_alignment = inspect_alignment  # type: ignore[attr-defined]
    return asked


def test_prints_the_alignment_on_stdout(run: Run, calls: list[Any]) -> None:
    result = run("inspect-alignment", "Zürich's cafés.")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "         Zürich   's ─   cafés ───   .\n" in result.stdout
    assert result.stdout.endswith(" sentence.\n")
    assert calls == [("Zürich's cafés.", "minilm")]


def test_short_name_runs_the_same_command(run: Run, calls: list[Any]) -> None:
    assert run("inspect", "x").stdout == run("inspect-alignment", "x").stdout != ""


def test_json_is_the_report(run: Run, calls: list[Any], cafes: Report) -> None:
    result = run("inspect", "x", "--json")
    assert json.loads(result.stdout) == cafes
    assert result.stderr == ""


def test_quiet_still_prints_the_alignment(run: Run, calls: list[Any]) -> None:
    assert run("inspect", "x", "-q").stdout == run("inspect", "x").stdout != ""


@pytest.mark.parametrize(
    ("args", "env", "model"),
    [
        ([], {}, "minilm"),
        (["-m", "minilm"], {}, "minilm"),
        ([], {"TRF_MODEL": "./model"}, "./model"),
        (["--model", "minilm"], {"TRF_MODEL": "./model"}, "minilm"),
    ],
)
def test_model_from_option_or_environment(
    run: Run, calls: list[Any], args: list[str], env: dict[str, str], model: str
) -> None:
    run("inspect", "x", *args, env=env)
    assert calls == [("x", model)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"Hello.\n", "Hello."),
        (b"Hello.\r\n", "Hello."),
        (b"Hello.", "Hello."),
        (b"one\n\ntwo\n\n", "one\n\ntwo\n"),
        ("\ufeffCafé".encode(), "Café"),
    ],
)
def test_dash_reads_stdin(run: Run, calls: list[Any], content: bytes, text: str) -> None:
    assert run("inspect", "-", input=content).exit_code == 0
    assert calls == [(text, "minilm")]


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_empty_text_is_an_error(run: Run, calls: list[Any], content: bytes) -> None:
    result = run("inspect", "-", input=content)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "✘ nothing to inspect: the text is empty\n"
    assert calls == []


def test_stdin_must_be_utf8(run: Run, calls: list[Any]) -> None:
    result = run("inspect", "-", input="Café".encode("latin1"))
    assert result.exit_code == 1
    assert result.stderr.startswith("✘ stdin, byte 3: not valid UTF-8\n  ")


def test_drawing_wraps_at_the_width_of_the_terminal(run: Run, calls: list[Any]) -> None:
    narrow = run("inspect", "x", env={"COLUMNS": "24"}).stdout
    assert " cafe  ##s   .   [SEP]\n" in narrow
