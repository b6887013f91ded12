from pathlib import Path
from typing import Any

import pytest
from annotating import RECORDS, write

from trfcli_pipeline.tasks.init_model import init_model


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> str:
    """A pipeline with a classifier whose scores differ between texts."""
    path = tmp_path_factory.mktemp("models") / "model"
    nlp, _ = init_model(str(tiny_bert), path, lang="xx")
    textcat: Any = nlp.add_pipe("trf_textcat", config={"exclusive_classes": True})
    textcat.initialize(None, nlp=nlp, labels=["BAD", "GOOD"])
    output = textcat.model.get_ref("output_layer")
    output.set_param("W", output.ops.asarray2f([[1.0, 0.0] * 8, [0.0, 1.0] * 8]))
    ruler: Any = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "WORK", "pattern": [{"LOWER": "film"}]}])
    nlp.to_disk(path)
    return str(path)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("in.jsonl", RECORDS)
    return tmp_path
