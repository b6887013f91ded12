"""Which texts are held out, and which are trained on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import srsly
from thinc.api import Config
from trainings import QUICK, finish, rows, start, write

from trfcli_pipeline.data.dataset import DataSet, ReadingOptions
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.train import train_textcat


def test_dev_file_is_used(model: Path, data: str, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT"))
    plan = start(str(model), data, dev=dev, arguments=QUICK)
    assert (len(plan.data.train), len(plan.data.dev)) == (40, 20)
    assert plan.data.dev_origin == f"in the dev set ({dev})"
    assert any("also occur in the training set" in warning for warning in plan.warnings)
    finish(train_textcat(str(model), data, dev=dev, arguments=replace(QUICK, epochs=1)))
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    digest = hashlib.sha256(Path(dev).read_bytes()).hexdigest()
    assert facts["data"]["dev.jsonl"] == digest


def test_share_of_held_out_texts_can_be_chosen(model: Path, data: str) -> None:
    plan = start(str(model), data, arguments=replace(QUICK, dev_split=0.25, seed=7))
    assert (len(plan.data.train), len(plan.data.dev)) == (30, 10)
    assert plan.data.label_counts == {"FILM": 15, "FRUIT": 15}
    assert plan.data.dev_origin == "held out as the dev set (stratified 25 %, seed 7)"


def test_final_model_is_kept_if_few_texts_are_held_out(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.9, 0.5, 0.4)
    end = finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=3, patience=1)))
    assert (end.best_step, end.score, end.evaluations_without_improvement) == (15, 0.4, 0)
    *_, decision = start(str(model), data, arguments=QUICK).config.decisions
    assert decision.endswith("the final model will be kept (--dev)")


def test_number_of_training_texts_can_be_limited(model: Path, data: str, tmp_path: Path) -> None:
    plan = start(str(model), data, arguments=replace(QUICK, max_texts=12))
    assert (len(plan.data.train), len(plan.data.dev)) == (12, 4)
    assert sum(plan.data.label_counts.values()) == 12
    plan = start(str(model), data, arguments=replace(QUICK, max_texts=1000))
    assert len(plan.data.train) == 36
    # Labels that none of them has are known as well.
    dev = write(tmp_path / "dev.jsonl", rows("FRUIT", "FILM"))
    plan = start(str(model), data, dev=dev, arguments=replace(QUICK, max_texts=1))
    assert sorted(plan.data.label_counts.values()) == [0, 1]


def test_labels_are_counted_by_text(model: Path, data: str, tmp_path: Path) -> None:
    arguments = replace(QUICK, exclusive=False)
    assert not start(str(model), data, arguments=arguments).data.has_several_labels
    several = [{"text": "an apple film", "labels": ["FILM", "FRUIT"]}]
    train = write(tmp_path / "train.jsonl", [*several, *rows("FILM"), {"text": "-", "labels": []}])
    plan = start(str(model), train, dev=data, arguments=QUICK)
    assert plan.data.has_several_labels
    assert (len(plan.data.train), plan.data.label_counts) == (22, {"FILM": 21, "FRUIT": 1})
    assert plan.config.metric == "cats_micro_f"


def test_config_may_say_how_files_are_read(tmp_path: Path) -> None:
    data, config = tmp_path / "a.csv", tmp_path / "own.cfg"
    lines = [f"text {number};{'AB'[number % 2]};{'xy'[number % 2]}\n" for number in range(40)]
    data.write_text("text;kind;other\n" + "".join(lines))
    shipped = Config().from_disk(config_path("textcat.cfg"), interpolate=False)
    shipped["corpora"]["train"] |= {"label_column": "kind", "delimiter": ";"}
    shipped.to_disk(config)
    arguments = TrainingArguments(config=config)
    found, _ = read_data(str(data), None, arguments)
    assert found.labels == ["A", "B"]
    # An option takes precedence.
    options = ReadingOptions(label_column=("other",))
    found, _ = read_data(DataSet((str(data),), options), None, arguments)
    assert found.labels == ["x", "y"]
