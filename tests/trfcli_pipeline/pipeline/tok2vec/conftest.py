from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from classifiers import make, multilingual
from spacy.language import Language
from torch.optim.optimizer import register_optimizer_step_post_hook

from trfcli_pipeline.encoder.updates import TrainingPass


@pytest.fixture(scope="module")
def bert(tiny_bert: Path) -> Language:
    return make(multilingual(), tiny_bert)


@pytest.fixture
def trf(tiny_bert: Path) -> Language:
    return make(multilingual(), tiny_bert, "textcat")


@pytest.fixture
def plain(tiny_bert: Path) -> Language:
    return make(spacy.blank("xx"), tiny_bert, "textcat")


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """A list that grows with each step of a torch optimizer."""
    taken: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    yield taken
    hook.remove()


@pytest.fixture
def backward_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each backward pass of the encoder, captured ones included."""
    passes: list[int] = []
    gradients = TrainingPass.gradients

    def count(*args: Any, **kwargs: Any) -> Any:
        passes.append(1)
        return gradients(*args, **kwargs)

    monkeypatch.setattr(TrainingPass, "gradients", count)
    return passes
