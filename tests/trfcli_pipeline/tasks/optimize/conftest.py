"""A pipeline to optimize, and an optimized one."""

from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from optimizing import LABELS, TEXTS
from spacy.language import Language

from trfcli_pipeline.tasks.optimize import optimize


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A directory with a pipeline that has a classifier, and texts with and without labels."""
    path = tmp_path_factory.mktemp("optimizing")
    nlp = spacy.blank("trf", meta={"lang": "xx"})
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("trf_wordpiecer", config={"trf_name": str(tiny_bert)})
    settings = {"trf_name": str(tiny_bert), "all_hidden_states": True}
    nlp.add_pipe("trf_tok2vec", config=settings)
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    for label in ("HAM", "SPAM"):
        textcat.add_label(label)
    nlp.initialize()
    nlp.to_disk(path / "model")
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    srsly.write_jsonl(path / "labeled.jsonl", rows)
    srsly.write_jsonl(path / "texts.jsonl", [{"text": text} for text in TEXTS])
    return path


@pytest.fixture(scope="module")
def events(workspace: Path) -> list[Any]:
    """The events of quantizing `model` to `int8`."""
    model, out = str(workspace / "model"), workspace / "int8"
    return list(optimize(model, out, str(workspace / "labeled.jsonl"), precision="int8"))


@pytest.fixture
def fast(workspace: Path, events: list[Any]) -> Language:
    return spacy.load(workspace / "int8")
