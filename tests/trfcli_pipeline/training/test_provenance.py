"""How a model records its data."""

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import srsly
from trainings import QUICK, finish, rows, write

from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.events import Checkpointed
from trfcli_pipeline.training.provenance import describe_files, digest_files, identify
from trfcli_pipeline.training.train import train_textcat

# Another value than the default for each argument.
CHANGED: dict[str, Any] = {
    "config": config_path("textcat.cfg"),
    "overrides": {"training.dropout": 0.1},
    "dev_split": 0.2,
    "corrections": Path("corrections.jsonl"),
    "exclusive": True,
    "architecture": "softmax_class_vector",
    "balance": True,
    "drop_labels": True,
    "segments": "doc",
    "max_texts": 30,
    "epochs": 4,
    "batch_size": 4,
    "learn_rate": 1e-3,
    "patience": 2,
    "eval_every": 3,
    "checkpoint_every": 3,
    "freeze_encoder": True,
    "freeze_layers": 1,
    "lora": 2,
    "precision": "bf16",
    "seed": 7,
    "seeds": 2,
    "data_seed": 7,
    "coverage": 0.9,
    "min_accuracy": 0.97,
    "device": "cpu",
    "linear_probe": True,
    "fixed": ["training.max_steps"],
}


@pytest.mark.parametrize("name", [each.name for each in fields(TrainingArguments)])
def test_every_argument_is_part_of_a_training_s_identity(
    name: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corrections.jsonl").touch()
    settings = []
    for arguments in (TrainingArguments(), TrainingArguments(**{name: CHANGED[name]})):
        texts, config = read_data(data, None, arguments)
        settings.append(identify(config, tmp_path, texts)["the settings"])
    assert settings[0] != settings[1]


@pytest.mark.parametrize("name", ["balance", "patience"])
def test_training_with_another_argument_is_neither_resumed_nor_taken_for_finished(
    model: Path, data: str, name: str
) -> None:
    changed = replace(QUICK, **{name: CHANGED[name]})
    for event in train_textcat(str(model), data, arguments=QUICK):
        if isinstance(event, Checkpointed):
            break
    with pytest.raises(PipelineError, match="the settings have changed"):
        list(train_textcat(str(model), data, arguments=changed, resume=True))
    finish(train_textcat(str(model), data, arguments=QUICK, resume=True))
    assert not finish(
        train_textcat(str(model), data, arguments=changed, resume=True)
    ).already_finished


def test_training_is_not_resumed_with_other_corrections(
    model: Path, data: str, tmp_path: Path
) -> None:
    text = rows("FRUIT", "FILM")[0]["text"]
    path = tmp_path / "corrections.jsonl"
    correction = {"text": text, "given": "FRUIT", "label": "FILM"}
    arguments = replace(QUICK, corrections=path)
    write(path, [correction])
    for event in train_textcat(str(model), data, arguments=arguments):
        if isinstance(event, Checkpointed):
            break
    write(path, [{**correction, "label": "FRUIT"}])
    with pytest.raises(PipelineError, match=r"the training texts .*have changed"):
        list(train_textcat(str(model), data, arguments=arguments, resume=True))
    write(path, [correction])
    assert finish(train_textcat(str(model), data, arguments=arguments, resume=True)).best_step


def test_every_argument_is_recorded(model: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", rows("FRUIT", "FILM"))
    arguments = replace(QUICK, epochs=1, balance=True, max_texts=30, patience=2)
    finish(train_textcat(str(model), train, arguments=arguments))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert facts.keys() >= {each.name for each in fields(TrainingArguments)}
    # The learning rate of the encoder has its own name there.
    assert (facts["balance"], facts["max_texts"], facts["trf_lr"]) == (True, 30, QUICK.learn_rate)


def test_data_files_with_the_same_name_are_recorded_by_their_paths(tmp_path: Path) -> None:
    paths = [str(tmp_path / part / "data.jsonl") for part in ("train", "dev")]
    for path in paths:
        Path(path).parent.mkdir()
        Path(path).write_text(path)
    assert digest_files(*paths) == {
        path: hashlib.sha256(path.encode()).hexdigest() for path in paths
    }
    assert digest_files(paths[0], None).keys() == {"data.jsonl"}
    assert digest_files(paths[0], paths[0]).keys() == {"data.jsonl"}
    assert digest_files("-", None) == {}


def test_data_files_are_recorded_with_their_roles(model: Path, tmp_path: Path) -> None:
    texts = rows("FRUIT", "FILM")
    parts = [DataSet.named(write(tmp_path / f"{i}.jsonl", texts[i::2])) for i in range(2)]
    pool = write(tmp_path / "pool.jsonl", [{"text": "Another film"}])
    fixes = tmp_path / "fixes.jsonl"
    write(fixes, [{"text": texts[0]["text"], "given": "FRUIT", "label": "FRUIT"}])
    arguments = replace(QUICK, epochs=1, corrections=fixes)
    finish(train_textcat(str(model), DataSet.joined(parts), unlabeled=pool, arguments=arguments))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert facts["data_roles"] == {
        "train": ["0.jsonl", "1.jsonl"],
        "unlabeled": ["pool.jsonl"],
        "corrections": ["fixes.jsonl"],
    }
    assert facts["data"].keys() == {"0.jsonl", "1.jsonl", "pool.jsonl", "fixes.jsonl"}


def test_data_that_is_not_a_file_has_a_role_but_no_hash(tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", [])
    hub = "hf://datasets/user/name"
    found = describe_files({"train": "-", "dev": dev, "unlabeled": hub, "corrections": None})
    assert found["data"].keys() == {"dev.jsonl"}
    assert found["data_roles"] == {"train": ["stdin"], "dev": ["dev.jsonl"], "unlabeled": [hub]}
