"""Texts that a tiny encoder can learn from, and readers for the command's output."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice, permutations
from pathlib import Path
from typing import Any

from typer.testing import Result

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]
Write = Callable[[Path, Iterable[Any]], Path]
WORDS = {"BAD": ("terrible", "bore", "hate", "dog"), "GOOD": ("great", "fun", "love", "film")}
LABELS = list(WORDS)
# The texts of a label have the same words in different orders, so that the two labels can be told
# apart whatever the encoder's random weights.
VARIANTS = [
    {"text": " ".join(words), "label": label}
    for orders in islice(zip(*map(permutations, WORDS.values()), strict=True), 16)
    for label, words in zip(WORDS, orders, strict=True)
]
TEXTS, DEV = VARIANTS[:24], VARIANTS[-2:]
WEIGHTS = Path("trf_tok2vec", "model", "model.safetensors")


def meta_of(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((path / "meta.json").read_text(encoding="utf8"))
    return meta


def training_of(path: Path) -> dict[str, Any]:
    """The record of a pipeline's training in its meta.json."""
    facts: dict[str, Any] = meta_of(path)["trf"]["training"]
    return facts


def rows_of(stderr: str) -> list[list[str]]:
    """The cells of the table of evaluations, without its header."""
    lines = stderr.splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("   step"))
    rest = lines[header + 1 :]
    return [line.split() for line in rest if re.match(r" +[\d,]+ ", line)]
