import os
import platform
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest
import spacy
import torch

from trfcli_pipeline.pipeline.loading import load_pipeline
from trfcli_pipeline.tasks.info import describe_machine, describe_pipeline, info
from trfcli_pipeline.tasks.init_model import init_model


@pytest.fixture(scope="module")
def saved(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / "model"
    init_model(str(tiny_bert), path, lang="xx")
    return path


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make torch report accelerators of a kind; no memory means that torch can't tell."""

    def simulate(kind: str | None, count: int = 1, *, memory: int | None = None) -> None:
        def get_memory_info(device: torch.device) -> tuple[int, int]:
            if memory is None:
                raise NotImplementedError("getMemoryInfo is not implemented for this allocator yet")
            return memory // 2, memory

        functions = {
            "is_available": lambda: kind is not None,
            "current_accelerator": lambda: None if kind is None else torch.device(kind),
            "device_count": lambda: count,
            "get_memory_info": get_memory_info,
        }
        for name, function in functions.items():
            monkeypatch.setattr(torch.accelerator, name, function)

    return simulate


def test_machine_without_accelerators(simulate: Callable[..., None]) -> None:
    simulate(None)
    machine = describe_machine()
    assert set(machine) == {"python", "versions", "device", "devices", "threads", "memory_gb"}
    assert machine["python"] == platform.python_version()
    assert machine["versions"]["torch"] == version("torch")
    assert None not in machine["versions"].values()
    assert machine["device"] == "cpu"
    assert machine["threads"] == torch.get_num_threads()
    assert machine["devices"] == [{"name": "cpu", "type": "cpu", "memory_gb": machine["memory_gb"]}]


def test_each_accelerator_is_listed_with_its_memory(simulate: Callable[..., None]) -> None:
    simulate("cuda", 2, memory=24_000_000_000)
    machine = describe_machine()
    assert machine["device"] == "cuda"
    assert machine["devices"][:-1] == [
        {"name": "cuda:0", "type": "cuda", "memory_gb": 24.0},
        {"name": "cuda:1", "type": "cuda", "memory_gb": 24.0},
    ]
    assert machine["devices"][-1]["name"] == "cpu"


def test_accelerator_memory_may_be_unknown(simulate: Callable[..., None]) -> None:
    simulate("mps")
    device = describe_machine()["devices"][0]
    assert device == {"name": "mps:0", "type": "mps", "memory_gb": None}


@pytest.mark.parametrize(
    ("known", "memory"), [({"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2_000_000}, 8.2), ({}, None)]
)
def test_machine_memory_may_be_unknown(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, int], memory: float | None
) -> None:
    monkeypatch.setattr(os, "sysconf_names", known, raising=False)
    monkeypatch.setattr(os, "sysconf", known.get, raising=False)
    assert describe_machine()["memory_gb"] == memory


def test_pipeline_is_described(saved: Path) -> None:
    found = info(str(saved))["model"]
    assert found["name"] == "xx_trf_tinybert"
    assert found["lang"] == "xx"
    assert found["path"] == str(saved)
    size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    assert found["size_mb"] == size / 1e6
    assert [each["name"] for each in found["components"]] == [
        "sentencizer",
        "trf_wordpiecer",
        "trf_tok2vec",
    ]
    encoder = found["encoder"]
    assert (encoder["name"], encoder["max_length"], encoder["heads"]) == ("tiny-bert", 64, 4)
    assert any(each.startswith("trfcli") for each in found["requirements"])
    assert found["performance"] == {}
    assert (found["training"], found["inference"], found["stored_in"]) == (None, None, None)
    assert encoder["source"].endswith("tiny-bert")
    assert datetime.fromisoformat(found["changed"]) <= datetime.now()
    assert "model" not in info()


def test_labels_are_listed_in_the_order_of_the_component(saved: Path) -> None:
    nlp = load_pipeline(str(saved))
    textcat = nlp.add_pipe("trf_textcat", name="topics")
    for label in ("B", "A"):
        textcat.add_label(label)
    component = describe_pipeline(nlp)["components"][-1]
    assert component == {"name": "topics", "factory": "trf_textcat", "labels": ["B", "A"]}


def test_pipeline_without_an_encoder_is_described(tmp_path: Path) -> None:
    nlp = spacy.blank("de")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path)
    found = describe_pipeline(load_pipeline(str(tmp_path)))
    assert found["encoder"] is None
    assert found["name"] == "de_pipeline"
