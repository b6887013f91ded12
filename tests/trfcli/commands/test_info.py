import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from trfcli.commands.info import format_device, history_pairs, machine_pairs, model_pairs
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
    "changed": "2026-05-01 12:30",
    "components": [
        {"name": "sentencizer", "factory": "sentencizer", "labels": []},
        {"name": "spam", "factory": "trf_textcat", "labels": ["HAM", "SPAM"]},
        {"name": "ner", "factory": "ner", "labels": [f"L{i}" for i in range(42)]},
    ],
    "encoder": {
        "name": "all-MiniLM-L6-v2",
        "source": "the Hugging Face hub, sentence-transformers/all-MiniLM-L6-v2",
        "revision": "1110a24",
        "model_type": "bert",
        "layers": 6,
        "width": 384,
        "parameters": 22_713_216,
        "max_length": 512,
        "backend": "torch",
        "precision": "fp32",
    },
    "training": {
        "data": {"spam.csv": "abc", "dev.csv": "def"},
        "data_roles": {"train": ["spam.csv"], "dev": ["dev.csv"]},
        "texts": 4517,
        "dev_texts": 1,
        "chosen": {"exclusive": False, "freeze_layers": 2, "balance": True, "config": "my own.cfg"}
        | {"training.dropout": 0.1},
        "epochs": 3,
        "batch_size": 32,
        "trf_lr": 1e-4,
        "learn_rate": 1e-3,
        "seed": 0,
        "device": "cpu",
        "precision": "bf16",
        "best_step": 282,
        "steps": 424,
        "choice": "score",
        "metric": "cats_micro_f",
        "score": 0.9741,
        "versions": {"trfcli": "0.1.0", "torch": "2.13.0"},
    },
    "inference": None,
    "stored_in": None,
    "requirements": ["trfcli>=0.1.0,<0.2.0"],
    "performance": {
        "cats_score": 0.9741,
        "cats_micro_f": 0.9741,
        "accuracy": 0.95,
        "cats_f_per_type": {"HAM": {"f": 1.0}},
        "ents_f": 0.5,
    },
}
INFERENCE = {"backend": "openvino", "precision": "int8", "figure": "macro F", "loss": 0.2049}
INFERENCE |= {"texts": 360}


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
        " pipeline       en_trf_allminilml6v2 0.0.0",
        " language       en",
        " path           model (87 MB, last changed 2026-05-01 12:30)",
        " encoder        all-MiniLM-L6-v2 (bert, 6 layers, width 384, 22.7M parameters, up to 512 "
        "wordpieces)",
        " source         the Hugging Face hub, sentence-transformers/all-MiniLM-L6-v2, revision "
        "1110a24",
        " component      sentencizer",
        " component      spam (trf_textcat), 2 labels: HAM, SPAM",
        f" component      ner, 42 labels: {', '.join(f'L{i}' for i in range(40))} and 2 more "
        "(--json lists all)",
        " trained on     4,517 texts from spam.csv; 1 dev text from dev.csv",
        " training       3 epochs, batch size 32, learning rate 1e-4 for the encoder, 1e-3 for the "
        "classifier, seed 0, CPU, bf16, kept step 282 of 424, chosen by micro F 0.974",
        " options        --multilabel --freeze-layers 2 --balance --config 'my own.cfg' "
        "--training.dropout 0.1",
        " trained with   trfcli 0.1.0, torch 2.13.0",
        " dev scores     accuracy 0.950, micro F 0.974, ents_f 0.500",
        " requires       trfcli>=0.1.0,<0.2.0",
    ]


def test_held_out_dev_set_frozen_encoder_and_final_model() -> None:
    # It is no option.
    chosen = {"linear_probe": True}
    training = {**MODEL["training"], "choice": "last", "chosen": chosen}
    training["data_roles"] = {"train": ["spam.csv"]}
    del training["trf_lr"]
    found = dict(history_pairs({**MODEL, "training": training}))
    assert found["trained on"] == "4,517 texts from spam.csv; 1 dev text held out"
    assert "encoder frozen, learning rate 1e-3 for the classifier" in found["training"]
    assert found["training"].endswith("kept step 282 of 424")
    assert "options" not in found


@pytest.mark.parametrize(
    ("roles", "facts", "expected"),
    [
        ({"train": ["a", "b"]}, {}, "4,517 texts from a, b; 1 dev text held out"),
        (
            {"train": ["stdin"], "unlabeled": ["pool"]},
            {"unlabeled_texts": 60},
            "4,517 texts from stdin; 1 dev text held out; 60 unlabeled texts from pool",
        ),
        (
            {"train": ["a"], "dev": ["b"], "unlabeled": ["pool"], "corrections": ["fixes"]},
            {"unlabeled_texts": 0},
            "4,517 texts from a; 1 dev text from b; unlabeled texts from pool not used; "
            "corrections from "
            "fixes",
        ),
        ({}, {}, "4,517 texts; 1 dev text; files spam.csv, dev.csv"),
        ({}, {"data": {}}, "4,517 texts; 1 dev text"),
    ],
)
def test_files_are_named_by_their_roles(
    roles: dict[str, list[str]], facts: dict[str, Any], expected: str
) -> None:
    training = {**MODEL["training"], "data_roles": roles, **facts}
    assert dict(history_pairs({**MODEL, "training": training}))["trained on"] == expected


def test_what_is_not_recorded_is_left_out() -> None:
    unknown = {**MODEL, "training": None, "performance": {}}
    assert history_pairs(unknown) == []
    assert history_pairs({**unknown, "inference": {"backend": "torch", "precision": "bf16"}}) == [
        ("optimized", "bf16 with torch")
    ]
    assert history_pairs({**unknown, "training": {"epochs": 1, "texts": 3}}) == [
        ("trained on", "3 texts"),
        ("training", "1 epoch"),
    ]


def test_optimization_and_storage_are_described() -> None:
    found = dict(history_pairs({**MODEL, "inference": INFERENCE, "stored_in": "fp16"}))
    assert found["optimized"] == "int8 with openvino; macro F -0.20 points on 360 texts"
    assert found["stored"] == "weights in 16 bits (fp16)"


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
    assert "encoder" not in pairs and "source" not in pairs and "requires" not in pairs


def test_unknown_maximum_length_is_left_out() -> None:
    encoder = {**MODEL["encoder"], "max_length": None}
    assert "up to" not in dict(model_pairs({**MODEL, "encoder": encoder}))["encoder"]


def test_optimized_encoder_names_precision_and_backend() -> None:
    encoder = {**MODEL["encoder"], "backend": "openvino", "precision": "int8"}
    found = dict(model_pairs({**MODEL, "encoder": encoder}))["encoder"]
    assert found.endswith("up to 512 wordpieces, int8 with openvino)")


def test_scores_of_an_optimized_pipeline_are_those_from_before() -> None:
    found = dict(model_pairs({**MODEL, "inference": INFERENCE}))["dev scores"]
    assert found.endswith("ents_f 0.500 (before it was optimized)")
