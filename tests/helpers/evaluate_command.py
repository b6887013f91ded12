"""Texts that a tiny encoder can learn, and types for the tests of `trf evaluate`."""

from collections.abc import Callable, Iterable
from itertools import islice, product
from pathlib import Path
from typing import Any

from typer.testing import Result

Run = Callable[..., Result]
CheckFailure = Callable[[list[str], str, str | None], None]
Digest = Callable[[Path], str]
Write = Callable[[Path, Iterable[Any]], Path]

WORDS = {"BAD": ("terrible", "bore", "hate", "dog"), "GOOD": ("great", "fun", "love", "film")}
# Texts of a label differ only in case, which the tiny encoder ignores: whatever its random weights,
# it sees two distinct points.
TEXTS = [
    {
        "text": " ".join(change(word) for change, word in zip(changes, words, strict=True)),
        "label": label,
    }
    for changes in islice(product((str.lower, str.upper), repeat=4), 6)
    for label, words in WORDS.items()
]
GOOD = TEXTS[1]["text"]
