"""Loading saved pipelines, and entry points."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
from languages import TEXTS, examples, make_like_spacy_3, predictions
from spacy import registry
from spacy.language import Language

from trfcli_pipeline.pipeline.optimizer import TransformersOptimizer

WITHOUT_NETWORK = """
import json, socket, sys

def refuse(*args, **kwargs):
    raise RuntimeError("a socket was used")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import spacy, torch
torch.set_num_threads(1)
nlp = spacy.load(sys.argv[1])
found = [
    [doc.cats, doc.tensor.tobytes().hex(), doc._.trf_alignment]
    for doc in nlp.pipe(json.loads(sys.argv[2]))
]
print(json.dumps(found))
"""


def test_a_saved_pipeline_needs_neither_network_nor_encoder(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_bert, encoder)
    nlp = make_like_spacy_3(str(encoder))
    nlp.update(examples(nlp), sgd=TransformersOptimizer())
    nlp.to_disk(tmp_path / "model")
    expected = [
        [doc.cats, doc.tensor.tobytes().hex(), doc._.trf_alignment] for doc in nlp.pipe(TEXTS)
    ]
    shutil.rmtree(encoder)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    command = [sys.executable, "-c", WITHOUT_NETWORK, tmp_path / "model", json.dumps(TEXTS)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == expected
    assert result.stderr == ""


def test_each_process_saves_the_same_bytes(trained: Language, tmp_path: Path) -> None:
    # spaCy's sentencizer has a set of characters, whose order differs between processes.
    trained.to_disk(tmp_path / "once")
    again = spacy.load(tmp_path / "once")
    again.to_disk(tmp_path / "again")
    saved = [srsly.read_json(tmp_path / each / "sentencizer.json") for each in ("once", "again")]
    saved.append(srsly.msgpack_loads(srsly.msgpack_loads(again.to_bytes())["sentencizer"]))
    for settings in saved:
        assert "!" in settings["punct_chars"]
        assert settings["punct_chars"] == sorted(settings["punct_chars"])


def test_saving_prints_nothing(
    trained: Language, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trained.to_disk(tmp_path)
    spacy.load(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_component_can_be_left_out_when_loading(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path)
    nlp = spacy.load(tmp_path, exclude=["trf_textcat"])
    np.testing.assert_array_equal(nlp(TEXTS[0]).tensor, trained(TEXTS[0]).tensor)
    nlp = spacy.load(tmp_path, enable=["sentencizer", "trf_wordpiecer"])
    assert nlp(TEXTS[0])._.trf_alignment == trained(TEXTS[0])._.trf_alignment


def test_a_component_can_be_sourced(trained: Language, tiny_bert: Path) -> None:
    nlp = spacy.blank("xx", vocab=trained.vocab)
    for name in ("sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"):
        nlp.add_pipe(name, source=trained)
    assert predictions(nlp) == predictions(trained)


ENTRY_POINTS = list(distribution("trfcli").entry_points)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "spacy_architectures": {"exclusive_classes": True},
    "trfcli.TokenVectors.v1": {},
    "trfcli.Corpus.v1": {"path": None},
    "trfcli.batch_by_length.v1": {"size": 2},
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda each: f"{each.group}/{each.name}")
def test_every_entry_point_can_be_used(entry_point: Any) -> None:
    target = entry_point.load()
    match entry_point.group:
        case "console_scripts":
            assert callable(target)
        case "spacy_languages":
            assert target().lang == entry_point.name
        case "spacy_factories":
            assert spacy.blank("en").create_pipe(entry_point.name).name == entry_point.name
        case group:
            if "optimizers" in group:
                assert registry.get("optimizers", entry_point.name) is target
            else:
                kind = group.removeprefix("spacy_")
                assert registry.get(kind, entry_point.name) is target
            arguments = ARGUMENTS.get(entry_point.name, ARGUMENTS.get(group, {}))
            assert callable(target(**arguments))


def test_entry_points_are_there() -> None:
    groups = {each.group for each in ENTRY_POINTS}
    assert {
        "console_scripts",
        "spacy_languages",
        "spacy_factories",
        "spacy_architectures",
        "spacy_tokenizers",
    } <= groups
