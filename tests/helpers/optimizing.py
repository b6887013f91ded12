"""Optimize a small pipeline."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trfcli_pipeline.encoder.devices import describe_device
from trfcli_pipeline.tasks.optimize import optimize

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It's a fox!",
    "Apple shares rose on the news.",
    "I love this film, it is great fun. 🦊",
    "",
    "I hate this film; it is a terrible bore.",
    " Zürich's cafés reopened. Unbelievable!",
]
DEVICE = describe_device(torch.device("cpu"))
LABELS = ["HAM", "HAM", "HAM", "SPAM", "SPAM", "HAM"]


def run(workspace: Path, texts: str = "texts.jsonl", **settings: Any) -> list[Any]:
    """Optimize `model` to `out`, by default with the fastest conversion."""
    settings = {"backend": "torch", "precision": "bf16", **settings}
    model = str(settings.pop("model", workspace / "model"))
    out = settings.pop("output", workspace / "out")
    return list(optimize(model, out, str(workspace / texts), **settings))


def equal(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return all(np.array_equal(a.tensor, b.tensor) for a, b in zip(one, other, strict=True))
