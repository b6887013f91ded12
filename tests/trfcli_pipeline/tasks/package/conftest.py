"""A small pipeline to package: a sentencizer and an untrained text classifier."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.training import Example


@pytest.fixture(scope="package")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    nlp.meta["name"] = "trf_tiny"
    nlp.meta["version"] = "0.1.0"
    nlp.meta["trf"] = {"encoder": {"name": "tiny"}, "training": {"texts": 4, "seed": 0}}
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("textcat")
    cats = ({"HAM": 1.0, "SPAM": 0.0}, {"HAM": 0.0, "SPAM": 1.0})
    examples = [Example.from_dict(nlp.make_doc("a text"), {"cats": c}) for c in cats]
    nlp.initialize(lambda: examples)
    path = tmp_path_factory.mktemp("model") / "model"
    nlp.to_disk(path)
    return path


@pytest.fixture
def with_meta(model_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies the pipeline with changes in its meta.json."""

    def change(**changes: Any) -> Path:
        copy = tmp_path / "model"
        shutil.copytree(model_dir, copy)
        srsly.write_json(copy / "meta.json", {**srsly.read_json(copy / "meta.json"), **changes})
        return copy

    return change
