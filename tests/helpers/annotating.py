"""Texts for `annotate`, and runs of it in the current directory."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from trfcli_pipeline.tasks.annotate import AnnotationEvent, annotate

# Of very different lengths, so that a change of order would show.
TEXTS = [f"Number {number}. " + "I love this film! " * (number * 7 % 11) for number in range(30)]
RECORDS = [{"text": text, "id": number} for number, text in enumerate(TEXTS)]


def write(name: str, rows: list[Any]) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def run(*args: Any, **options: Any) -> list[AnnotationEvent]:
    return list(annotate(*args, **options))


def interrupt(*args: str, batches: int, **options: Any) -> None:
    """Stop a run after some batches."""
    events = annotate(*args, **options)
    for _ in range(1 + batches):
        next(events)
    events.close()


def stdin(monkeypatch: pytest.MonkeyPatch, rows: list[Any]) -> None:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    content = "".join(f"{line}\n" for line in lines).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
