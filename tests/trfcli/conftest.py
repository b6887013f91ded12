import math
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from trfcli import console
from trfcli.app import app
from trfcli.console import QUIET_ENVIRONMENT

Run = Callable[..., Result]
Report = dict[str, Any]

CLS = ("[CLS]", 101)
SEP = ("[SEP]", 102)


def build_report(
    *sentences: tuple[list[tuple[str, list[int]]], list[str | tuple[str, int]]],
    truncated: tuple[int, ...] = (),
) -> Report:
    """Build a report like those of `inspect_alignment`.

    Args:
        sentences: For each, its tokens with the indices of their wordpieces in the sentence, and
            its wordpieces. A special wordpiece is a pair of text and id.
        truncated: Indices of the tokens that are cut off.
    """
    report: Report = {"text": "", "sentences": [], "tokens": [], "wordpieces": []}
    for tokens, pieces in sentences:
        first = len(report["wordpieces"])
        start = len(report["text"])
        for piece in pieces:
            text, number = piece if isinstance(piece, tuple) else (piece, 1000)
            report["wordpieces"].append(
                {
                    "i": len(report["wordpieces"]),
                    "id": number,
                    "text": text,
                    "special": isinstance(piece, tuple),
                    "unknown": text == "[UNK]",
                    "tokens": [],
                }
            )
        for text, indices in tokens:
            i = len(report["tokens"])
            begin = len(report["text"])
            report["text"] += f"{text} "
            report["tokens"].append(
                {
                    "i": i,
                    "text": text,
                    "start": begin,
                    "end": begin + len(text),
                    "truncated": i in truncated,
                    "wordpieces": [first + index for index in indices],
                }
            )
            for index in indices:
                report["wordpieces"][first + index]["tokens"].append(i)
        report["sentences"].append([start, max(start, len(report["text"]) - 1)])
    return report


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    return build_report


@pytest.fixture
def cafes() -> Report:
    return build_report(
        (
            [("Zürich", [1]), ("'s", [2, 3]), ("cafés", [4, 5]), (".", [6])],
            [CLS, "zurich", "'", "s", "cafe", "##s", ".", SEP],
        )
    )


# Typer builds all commands again for each call.
get_command = cache(typer.main.get_command)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("typer.testing._get_command", get_command)
    runner = CliRunner()

    def run_trf(*args: str, **options: Any) -> Result:
        return runner.invoke(app, list(args), **options)

    return run_trf


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate tests from the terminal and the environment, and from each other."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TRF_DEBUG", "TRF_MODEL"):
        monkeypatch.delenv(name, raising=False)
    # Set and removed again, so that monkeypatch also undoes what a command sets.
    for name in QUIET_ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    # How long a command takes depends on the machine.
    monkeypatch.setattr(console, "_LONG", math.inf)
    console.configure(quiet=False, debug=False)


@pytest.fixture
def inspection(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module in place of `tasks.inspect_alignment`, to which tests add functions."""
    module = ModuleType("trfcli_pipeline.tasks.inspect_alignment")
    # `from trfcli_pipeline.tasks import inspect_alignment` finds the attribute first, other imports
    # find the entry in sys.modules.
    monkeypatch.setattr("trfcli_pipeline.tasks.inspect_alignment", module, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module
