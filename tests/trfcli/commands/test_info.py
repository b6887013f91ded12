import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from trfcli.commands.info import format_device, machine_pairs, model_pairs
from trfcli_pipeline.errors import PipelineError

Run = Callable[..., Result]

MACHINE: dict[str, Any] = {
    "python": "3.11.7",
    "versions": {"trfcli": None, "spacy": "3.8.18", "torch": "2.13.0"},
    "device": "cuda",
    "devices": [
        {"name": "cuda:0", "type": "cuda", "memory_gb": 24.0},
        {"name": "cuda:1", "type": "cuda", "memory_gb": None},
        {"name": "cpu", "type": "cpu", "memory_gb": 7.9},
    ],
    "threads": 2,
    "memory_gb": 7.9,
}
MODEL: dict[str, Any] = {
    "name": "en_trf_allminilml6v2",
    "version": "0.0.0",
    "lang": "en",
    "path": "model",
    "size_mb": 87.3,
    "components": [
        {"name": "sentencizer", "factory": "sentencizer", "labels": []},
        {"name": "spam", "factory": "trf_textcat", "labels": ["HAM", "SPAM"]},
        {"name": "ner", "factory": "ner", "labels": [f"L{i}" for i in range(12)]},
    ],
    "encoder": {
        "name": "all-MiniLM-L6-v2",
        "model_type": "bert",
        "layers": 6,
        "width": 384,
        "parameters": 22_713_216,
        "max_length": 512,
        "backend": "torch",
        "precision": "fp32",
    },
    "requirements": ["trfcli>=0.1.0,<0.2.0"],
    "performance": {"cats_score": 0.9741, "cats_f_per_type": {"HAM": {"f": 1.0}}},
}


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(model: str | None, *, verify: bool) -> dict[str, Any]:
        if model not in (None, "model"):
            raise PipelineError(f"{model}: no such directory or package")
        return dict(MACHINE) if model is None else {**MACHINE, "model": MODEL}

    monkeypatch.setattr("trfcli_pipeline.tasks.info.info", info)


def test_machine_is_described(run: Run) -> None:
    result = run("info")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        " python    3.11.7",
        " trfcli    not installed",
        " spacy     3.8.18",
        " torch     2.13.0",
        " device    cuda:0, 24.0 GB (default)",
        " device    cuda:1",
        " device    cpu",
        " threads   2",
        " memory    7.9 GB",
    ]


def test_model_is_described_after_the_machine(run: Run) -> None:
    result = run("info", "model")
    assert result.exit_code == 0
    assert result.stdout.partition("\n\n")[2].splitlines() == [
        " pipeline     en_trf_allminilml6v2 0.0.0",
        " language     en",
        " path         model (87 MB)",
        " encoder      all-MiniLM-L6-v2 (bert, 6 layers, width 384, 22.7M parameters, up to 512 "
        "wordpieces)",
        " component    sentencizer",
        " component    spam (trf_textcat), 2 labels: HAM, SPAM",
        " component    ner, 12 labels: L0, L1, L2, L3, L4 and 7 more",
        " requires     trfcli>=0.1.0,<0.2.0",
        " cats_score   0.974",
    ]


def test_json_has_the_model_only_if_one_is_given(run: Run) -> None:
    assert json.loads(run("info", "--json").stdout) == MACHINE
    assert json.loads(run("info", "model", "--json").stdout) == {**MACHINE, "model": MODEL}


def test_unknown_model_is_one_line(run: Run) -> None:
    result = run("info", "nowhere")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "✘ nowhere: no such directory or package\n"


def test_only_the_default_device_is_marked() -> None:
    first, second, cpu = MACHINE["devices"]
    assert "default" in format_device(first, "cuda")
    assert "default" not in format_device(second, "cuda")
    assert "default" not in format_device(cpu, "cuda")
    assert "default" in format_device(cpu, "cpu")


def test_unknown_memory_is_left_out() -> None:
    assert "memory" not in dict(machine_pairs({**MACHINE, "memory_gb": None}))


def test_missing_encoder_and_requirements_are_left_out() -> None:
    pairs = dict(model_pairs({**MODEL, "encoder": None, "requirements": []}))
    assert "encoder" not in pairs and "requires" not in pairs


def test_unknown_maximum_length_is_left_out() -> None:
    encoder = {**MODEL["encoder"], "max_length": None}
    assert "up to" not in dict(model_pairs({**MODEL, "encoder": encoder}))["encoder"]


def test_optimized_encoder_names_precision_and_backend() -> None:
    encoder = {**MODEL["encoder"], "backend": "openvino", "precision": "int8"}
    found = dict(model_pairs({**MODEL, "encoder": encoder}))["encoder"]
    assert found.endswith("up to 512 wordpieces, int8 with openvino)")


def test_scores_of_an_optimized_pipeline_are_those_from_before() -> None:
    encoder = {**MODEL["encoder"], "precision": "int8"}
    found = dict(model_pairs({**MODEL, "encoder": encoder}))["cats_score"]
    assert found == "0.974 (before it was optimized)"
