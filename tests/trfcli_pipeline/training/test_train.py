"""Whole training runs: their events, and the pipelines that they save."""

import math
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
import srsly
from directories import snapshot
from trainings import QUICK, TAILS, constant_rates, finish, rows, start, write

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Checkpointed, Evaluated, Finished, Planned, Stepped
from trfcli_pipeline.training.train import train_textcat


def test_events_come_in_order_and_the_model_changes_only_at_the_end(model: Path, data: str) -> None:
    before = snapshot(model)
    events = []
    for event in train_textcat(str(model), data, arguments=QUICK):
        if not isinstance(event, Finished):
            assert snapshot(model) == before
        events.append(event)
    plan, *middle, end = events
    assert isinstance(plan, Planned)
    assert isinstance(end, Finished)
    # 4 of 40 texts are held out.
    assert (len(plan.data.train), len(plan.data.dev), plan.config.batch_size) == (36, 4, 8)
    assert plan.config.steps == 2 * math.ceil(36 / 8) == 10
    kinds = [type(event) for event in middle]
    # No checkpoint at the end, when there is nothing left to resume.
    assert kinds == [*[Stepped] * 5, Evaluated, Checkpointed, *[Stepped] * 5, Evaluated]
    steps = [event.step for event in middle if isinstance(event, Stepped)]
    assert steps == list(range(1, 11))
    evaluated = [event for event in middle if isinstance(event, Evaluated)]
    assert [event.step for event in evaluated] == [5, 10]
    assert [event.epoch for event in evaluated] == [1.0, 2.0]
    # Four dev texts are too few to choose a step by.
    assert [event.kept_because for event in evaluated] == [None, "last"]
    losses = [event.loss for event in middle if isinstance(event, Stepped)]
    assert evaluated[0].loss == pytest.approx(sum(losses[:5]) / 5)
    assert evaluated[1].loss == pytest.approx(sum(losses[5:]) / 5)
    assert evaluated[1].loss < evaluated[0].loss
    assert all(event.words_per_second > 0 for event in evaluated)
    assert (end.best_step, end.score, end.kept_because) == (10, evaluated[1].score, "last")
    assert end.path == model
    assert end.replaced == "a pipeline without a text classifier"
    assert end.metric == "cats_macro_f"
    assert end.evaluations_without_improvement == 0
    assert end.seconds > 0
    assert snapshot(model) != before
    assert list(model.parent.iterdir()) == [model]


def test_plan_describes_the_data_and_the_training(model: Path, data: str) -> None:
    plan = start(
        str(model), data, arguments=TrainingArguments(batch_size=8, learn_rate=2e-4, epochs=5)
    )
    assert plan.data.label_counts == {"FILM": 18, "FRUIT": 18}
    assert plan.config.exclusive
    assert plan.classifier == "new classifier, initialized by a linear probe"
    assert plan.config.trf_lr == 2e-4
    assert plan.config.learn_rate == 1e-3
    assert plan.config.warmup_steps == math.ceil(plan.config.steps / 10) == 3
    assert plan.data.dev_origin == "held out as the dev set (stratified 10 %, seed 0)"
    assert plan.config.decisions == [
        "Fewer than 20 dev texts are too few to choose a checkpoint by: the final model will be "
        "kept (--dev)"
    ]
    assert 5 < plan.mean_length < 30
    assert plan.threads >= 1
    assert plan.device == "cpu" or ":" in plan.device or plan.device == "cuda"


def test_trained_pipeline_predicts_and_records_its_training(classifier: Path) -> None:
    nlp = spacy.load(classifier)
    assert nlp.pipe_names == ["sentencizer", "trf_wordpiecer", "trf_tok2vec", "trf_textcat"]
    for row in rows("FRUIT", "FILM"):
        cats = nlp(row["text"]).cats
        assert max(cats, key=cats.__getitem__) == row["label"]
    facts = nlp.meta["trf"]["training"]
    assert (facts["texts"], facts["dev_texts"]) == (40, 40)
    assert facts["labels"] == {"FILM": 20, "FRUIT": 20}
    assert facts["seed"] == 1
    assert facts["trf_lr"] == 5e-3
    assert facts["steps"] == 40
    assert facts["best_step"] <= 40
    assert facts["data"].keys() == {"train.jsonl"}
    assert nlp.meta["trf"]["encoder"]["name"] == "tiny-bert"
    assert nlp.meta["performance"]["cats_macro_f"] == 1.0
    assert nlp.config["training"]["batcher"]["size"] == 8


def test_output_leaves_the_model_unchanged(model: Path, data: str, tmp_path: Path) -> None:
    before = snapshot(model)
    output = tmp_path / "out" / "trained"
    end = finish(train_textcat(str(model), data, output=output, arguments=QUICK))
    assert snapshot(model) == before
    assert end.path == output
    assert end.replaced is None
    assert "trf_textcat" in spacy.load(output).pipe_names
    again = finish(train_textcat(str(model), data, output=output, arguments=QUICK))
    assert again.replaced == "the pipeline that was there"


def test_weights_with_the_best_score_are_kept(
    model: Path, data: str, tmp_path: Path, scores: Callable[..., None]
) -> None:
    """With constant rates, the weights after the first epoch don't depend on how many follow."""
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    for name, epochs in (("one", 1), ("three", 3), ("late", 3)):
        scores(*([0.5, 0.9, 0.9] if name == "late" else [0.9, 0.5, 0.5]))
        arguments = replace(QUICK, epochs=epochs, config=config, learn_rate=None)
        end = finish(
            train_textcat(str(model), data, dev=data, output=tmp_path / name, arguments=arguments)
        )
        # The later one of equal scores.
        assert end.best_step == (15 if name == "late" else 5)
        meta = srsly.read_json(tmp_path / name / "meta.json")
        assert meta["trf"]["training"]["best_step"] == end.best_step
        assert meta["trf"]["training"]["steps"] == 5 * epochs
        assert meta["trf"]["training"]["score"] == 0.9
    for part in ("trf_tok2vec", "trf_textcat"):
        one, three, late = (snapshot(tmp_path / each / part) for each in ("one", "three", "late"))
        assert one == three
        assert one != late


@pytest.mark.parametrize(("last", "is_kept"), [(0.86, True), (0.85, False)])
def test_final_weights_are_kept_if_within_a_standard_error_of_the_best(
    model: Path, data: str, scores: Callable[..., None], last: float, is_kept: bool
) -> None:
    # The standard error of 0.9 on 40 texts is 0.047.
    scores(0.9, 0.5, last)
    *events, end = train_textcat(str(model), data, dev=data, arguments=replace(QUICK, epochs=3))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    reasons = [event.kept_because for event in evaluated]
    assert reasons == ["score", None, "rate" if is_kept else None]
    assert isinstance(end, Finished)
    assert (end.best_step, end.score) == ((15, last) if is_kept else (5, 0.9))
    assert end.highest_score == 0.9
    assert end.kept_because == ("rate" if is_kept else "score")
    facts = srsly.read_json(model / "meta.json")["trf"]["training"]
    assert (facts["best_step"], facts["score"]) == (end.best_step, end.score)


def test_final_weights_are_not_preferred_with_a_constant_learning_rate(
    model: Path, data: str, tmp_path: Path, scores: Callable[..., None]
) -> None:
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    scores(0.9, 0.5, 0.89)
    arguments = replace(QUICK, epochs=3, config=config, learn_rate=None)
    end = finish(train_textcat(str(model), data, dev=data, arguments=arguments))
    assert (end.best_step, end.kept_because) == (5, "score")


def test_same_seed_gives_the_same_files(model: Path, data: str, tmp_path: Path) -> None:
    found = {}
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        # Random numbers drawn before must not matter.
        random.seed(name)
        arguments = replace(QUICK, seed=seed)
        events = list(train_textcat(str(model), data, output=tmp_path / name, arguments=arguments))
        losses = [event.loss for event in events if isinstance(event, Stepped)]
        found[name] = snapshot(tmp_path / name), losses
    assert found["one"] == found["two"]
    assert found["one"] != found["three"]


def test_multi_label_classifier_learns(model: Path, tmp_path: Path) -> None:
    data = [{"text": row["text"], "labels": [row["label"], "ANY"]} for row in rows("FRUIT", "FILM")]
    data += [{"text": f"nothing {tail}", "labels": []} for tail in TAILS]
    train = write(tmp_path / "train.jsonl", data)
    config = constant_rates(
        tmp_path / "a.cfg",
        head=0.02,
        encoder=5e-3,
        base="textcat_multilabel.cfg",
        dropout=0.0,
    )
    arguments = replace(QUICK, epochs=8, config=config, learn_rate=None)
    events = list(train_textcat(str(model), train, dev=train, arguments=arguments))
    plan, end = events[0], events[-1]
    assert isinstance(plan, Planned)
    assert isinstance(end, Finished)
    assert not plan.config.exclusive
    assert plan.data.label_counts.keys() == {"ANY", "FILM", "FRUIT"}
    assert end.metric == "cats_micro_f"
    assert end.score > 0.8
    cats = spacy.load(model)("apple pie. I love it!").cats
    assert cats["ANY"] > 0.5 > cats["FILM"]


def test_the_only_evaluation_is_not_called_the_best(model: Path, data: str) -> None:
    *_, event, end = train_textcat(str(model), data, dev=data, arguments=replace(QUICK, epochs=1))
    assert isinstance(event, Evaluated)
    assert isinstance(end, Finished)
    assert event.kept_because == end.kept_because == "only"


def test_labels_may_have_values_between_0_and_1(model: Path, tmp_path: Path) -> None:
    data = [
        {"text": row["text"], "cats": {"FRUIT": 0.9, "FILM": 0.2}}
        if row["label"] == "FRUIT"
        else {"text": row["text"], "cats": {"FRUIT": 0.2, "FILM": 0.9}}
        for row in rows("FRUIT", "FILM")
    ]
    train = write(tmp_path / "train.jsonl", data)
    arguments = replace(QUICK, epochs=8, exclusive=False)
    plan, *_, end = train_textcat(str(model), train, dev=train, arguments=arguments)
    assert isinstance(plan, Planned)
    assert isinstance(end, Finished)
    assert plan.data.label_counts == {"FILM": 20, "FRUIT": 20}
    assert plan.warnings[-1].startswith("40 texts in the dev set have labels with values between 0")
    textcat = spacy.load(model).get_pipe("trf_textcat")
    predicted = [spacy.load(model)(row["text"]).cats["FRUIT"] for row in data[::20]]
    assert predicted[0] >= textcat.thresholds["FRUIT"] > predicted[1]


def test_files_that_users_added_are_kept(classifier: Path, data: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(classifier, model)
    (model / "README.md").write_text("mine")
    (model / "data").mkdir()
    (model / "data" / "train.jsonl").write_text("{}")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    (model / "link").symlink_to("README.md")
    (model / "dangling").symlink_to("absent")
    finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=1)))
    assert (model / "README.md").read_text() == "mine"
    assert (model / "data" / "train.jsonl").read_text() == "{}"
    assert (model / ".git" / "HEAD").read_text() == "ref"
    assert os.readlink(model / "link") == "README.md"
    assert os.readlink(model / "dangling") == "absent"
    assert "trf_textcat" in spacy.load(model).pipe_names


def test_files_of_removed_components_are_not_kept(model: Path, data: str) -> None:
    nlp = spacy.load(model)
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "apple"}])
    nlp.to_disk(model)
    # Removed from the config, but its files are still there.
    nlp.remove_pipe("entity_ruler")
    meta = srsly.read_json(model / "meta.json")
    nlp.config.to_disk(model / "config.cfg")
    assert "entity_ruler" in meta["components"]
    finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=1)))
    assert not (model / "entity_ruler").exists()
