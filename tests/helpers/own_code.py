"""A Python file with functions of a user's own."""

import sys
from pathlib import Path

import catalogue
import pytest

from trfcli_pipeline.pipeline import user_code

# The component marks texts that have an exclamation mark, and fails for those without a token.
SOURCE = """\
from __future__ import annotations

from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc


@dataclass
class Loudness:
    sign: str = "!"


@Language.component("loudness")
def loudness(doc: Doc) -> Doc:
    doc.cats["LOUD"] = float(Loudness().sign in doc[-1].text)
    return doc


def square(number: int) -> int:
    return number * number
"""
FAILING_LINE = 1 + SOURCE.splitlines().index(
    '    doc.cats["LOUD"] = float(Loudness().sign in doc[-1].text)'
)


def forget_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test start as if no such file had been imported, and undo what it imports."""
    monkeypatch.setattr(user_code, "_imported", {})
    # Set and removed again, so that monkeypatch removes what a test sets.
    monkeypatch.setitem(sys.modules, "functions", sys)
    del sys.modules["functions"]
    for key in [key for key in catalogue.REGISTRY if key[-1] == "loudness"]:
        monkeypatch.delitem(catalogue.REGISTRY, key)


def write_code(path: Path, source: str = SOURCE) -> Path:
    path.write_text(source, encoding="utf8")
    return path
