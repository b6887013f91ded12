"""What is held out, and what is trained on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import srsly
from trainings import QUICK, finish, rows, start, write

from trfcli_pipeline.training import train_textcat


def test_a_dev_file_is_used(model: Path, data: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT"))
    plan = start(str(model), data, dev=dev, settings=QUICK)
    assert (plan.train_texts, plan.dev_texts) == (40, 20)
    assert plan.dev_origin == f"from {dev}"
    assert any("also occur in the training set" in remark for remark in plan.remarks)
    finish(train_textcat(str(model), data, dev=dev, settings=replace(QUICK, epochs=1)))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    digest = hashlib.sha256(Path(dev).read_bytes()).hexdigest()
    assert facts["data"]["dev.jsonl"] == digest


def test_how_much_is_held_out(model: Path, data: str) -> None:
    plan = start(str(model), data, settings=replace(QUICK, dev_split=0.25, seed=7))
    assert (plan.train_texts, plan.dev_texts) == (30, 10)
    assert plan.label_counts == {"FILM": 15, "FRUIT": 15}
    assert plan.dev_origin.startswith("held out, stratified 25 %, seed 7")


def test_a_few_held_out_texts_decide_nothing(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.9, 0.5, 0.4)
    end = finish(train_textcat(str(model), data, settings=replace(QUICK, epochs=3, patience=1)))
    assert (end.best_step, end.score, end.stopped_early) == (15, 0.4, False)
    assert "the last state is kept" in start(str(model), data, settings=QUICK).dev_origin


def test_at_most_so_many_texts(model: Path, data: str, tmp_path: Path) -> None:
    plan = start(str(model), data, settings=replace(QUICK, max_texts=12))
    assert (plan.train_texts, plan.dev_texts) == (12, 4)
    assert sum(plan.label_counts.values()) == 12
    plan = start(str(model), data, settings=replace(QUICK, max_texts=1000))
    assert plan.train_texts == 36
    # A label that none of them has is known all the same.
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "FILM"))
    plan = start(str(model), data, dev=dev, settings=replace(QUICK, max_texts=1))
    assert sorted(plan.label_counts.values()) == [0, 1]
