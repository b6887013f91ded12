"""The contestants, run with tiny encoders."""

import importlib
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from trfcli_pipeline.tasks.init_model import init_model

PHRASES = {"GOOD": "it is great fun", "BAD": "a terrible bore, hate"}


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A directory with a small data set."""
    for part, size in (("train", 16), ("test", 6)):
        rows = [
            {"text": f"{phrase} {number}. I love dogs!", "labels": [label]}
            for number in range(size)
            for label, phrase in PHRASES.items()
        ]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / f"{part}.jsonl").write_text(lines)
    return str(tmp_path)


@pytest.fixture
def model(tiny_bert: Path, tmp_path: Path) -> str:
    init_model(str(tiny_bert), tmp_path / "model", lang="xx")
    return str(tmp_path / "model")


def function(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def test_all_contestants_get_the_same_texts(data: str) -> None:
    read_texts = function("contest", "read_texts")
    path = f"{data}/train.jsonl"
    random.seed(1)
    found = read_texts(path, 5)
    random.seed(2)
    assert read_texts(path, 5) == found == read_texts(path, None)[:5]
    assert len(set(found)) == 5


def test_encoding_counts_words_independently_of_the_tokenizer(
    data: str, model: str, tiny_bert: Path
) -> None:
    texts = {"texts": f"{data}/train.jsonl", "limit": 8}
    ours = function("with_trf", "encode")(model=model, batch_size=4, **texts)
    twice = function("with_trf", "encode")(model=model, batch_size=4, copies=2, **texts)
    alone = function("with_transformers", "floor")(
        encoder=str(tiny_bert), words_per_batch=30, **texts
    )
    for found, words in ((ours, 8 * 8), (twice, 16 * 8), (alone, 8 * 8)):
        assert found["words_per_s"] * found["seconds"] == pytest.approx(words)
        assert found["peak_mb"] > 10
    assert 0 < ours["bookkeeping"] < 1


def test_update_speed_counts_all_texts(data: str, tiny_bert: Path) -> None:
    found = function("with_trf", "train")(encoder=str(tiny_bert), data=data, limit=12, batch_size=4)
    assert found["texts_per_s"] * found["seconds"] == pytest.approx(12)


def test_train_command_times_its_steps(data: str, model: str) -> None:
    found = function("with_trf", "train_command")(model=model, data=data, limit=12, batch_size=4)
    assert found["texts_per_s"] > 0
    assert found["texts"] == 12


def test_fine_tuning_trains_and_scores(
    data: str, model: str, tiny_bert: Path, tmp_path: Path
) -> None:
    budget = {"data": data, "seed": 0, "batch_size": 4, "limit": None}
    plain = function("with_transformers", "textcat")(
        encoder=str(tiny_bert), epochs=10, learn_rate=2e-3, **budget
    )
    assert (plain["texts"], plain["epochs"], plain["accuracy"]) == (32, 10, 1.0)
    ours = function("with_trf", "textcat")(
        model=model, output=str(tmp_path / "trained"), epochs=2, **budget
    )
    # A tenth is held out for dev.
    assert (ours["texts"], ours["epochs"]) == (29, 2)
    assert ours["train_s"] > 0
    score = function("with_trf", "score")(model=str(tmp_path / "trained"), data=data)
    assert score["accuracy"] == ours["accuracy"]


def test_groups_contain_all_rows_within_the_budget() -> None:
    rows = [[0] * length for length in (1, 2, 2, 5, 9, 30, 31)]
    groups = list(function("with_transformers", "_groups")(rows, 20))
    assert [row for group in groups for row in group] == rows
    assert all(len(group) == 1 or len(group) * len(group[-1]) <= 20 for group in groups)


def test_batches_contain_every_text_once() -> None:
    rows = [[0] * length for length in range(1, 71)]
    batches = function("with_transformers", "_shuffled")(rows, 4)
    assert sorted(i for batch in batches for i in batch) == list(range(70))
    assert {len(batch) for batch in batches} <= {2, 4}


@pytest.mark.parametrize("exclusive", [True, False])
def test_scores_equal_those_of_scikit_learn(exclusive: bool) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3)).astype(np.float32)
    gold = np.eye(3, dtype=np.float32)[rng.integers(3, size=40)]
    predicted = logits > 0
    if exclusive:
        predicted = np.eye(3)[logits.argmax(axis=1)]
    else:
        gold[rng.random(gold.shape) < 0.3] = 1
    found = function("with_transformers", "_scores")(logits, gold, exclusive)
    assert found["macro_f"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    # With exclusive labels, micro F equals the accuracy.
    main = found["accuracy" if exclusive else "micro_f"]
    assert main == pytest.approx(f1_score(gold, predicted, average="micro"))


def test_padding_is_masked(tiny_bert: Path) -> None:
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert)
    found = function("with_transformers", "_pad")(tokenizer, [[5, 6, 7], [8]])
    assert found["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert found["attention_mask"].dtype == torch.int64


@pytest.mark.parametrize("contestant", ["trf", "plain"])
def test_training_steps_on_a_gpu_are_timed(
    contestant: str,
    tiny_bert: Path,
    data: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu = importlib.import_module("gpu")
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2e9)
        plain = partial(function("overhead", "plain_steps"), device="cpu")
        monkeypatch.setitem(gpu._STEPS, "plain", plain)
    gpu.train(contestant, str(tiny_bert), data, 4, "fp32", 3)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found.keys() == {"texts/s", "second half", "peak GB"}
    assert found["texts/s"] > 0
