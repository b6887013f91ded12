"""How arguments and configs change a training run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import spacy
from directories import snapshot
from spacy.training import Example
from trainings import QUICK, constant_rates, encoder_files, finish, rows, start, write

from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import config_path
from trfcli_pipeline.training.events import Evaluated, Planned, Stepped
from trfcli_pipeline.training.train import train_textcat


def test_accumulated_batches_give_one_step(model: Path, data: str, tmp_path: Path) -> None:
    """Two batches of four have the gradient of one batch of eight."""
    config = constant_rates(tmp_path / "a.cfg", head=0.02, encoder=1e-3, dropout=0.0)
    losses = {}
    for size, accumulate in ((8, 1), (4, 2)):
        arguments = TrainingArguments(
            config=config,
            overrides={"training.accumulate_gradient": accumulate},
            epochs=2,
            batch_size=size,
            seed=1,
            dev_split=0.2,
        )
        events = list(train_textcat(str(model), data, output=tmp_path / "o", arguments=arguments))
        assert isinstance(events[0], Planned)
        assert events[0].config.steps == 8
        losses[size] = [event.loss for event in events if isinstance(event, Stepped)]
    # The same texts, but in different batches after the first step.
    assert losses[4][0] == pytest.approx(losses[8][0], abs=1e-6)
    assert sum(losses[4]) == pytest.approx(sum(losses[8]), rel=0.2)


def test_encoder_sees_windows_unless_the_segments_are_sentences(model: Path, data: str) -> None:
    together = start(str(model), data, arguments=QUICK)
    assert together.segments == "windows of up to 64 wordpieces"
    single = start(str(model), data, arguments=replace(QUICK, segments="sentences"))
    assert single.segments == "single sentences"
    # Each text has two sentences, so one more pair of special tokens.
    assert single.mean_length == pytest.approx(together.mean_length + 2)
    finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=1)))
    nlp = spacy.load(model)
    assert nlp.get_pipe("trf_wordpiecer").settings.segments == "windows"
    assert len(nlp("One. Two.")._.trf_segments) == 1


def test_balance_gives_rare_labels_a_higher_weight(model: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", [*rows("FRUIT"), *rows("FILM")[:10]])
    overrides = {"components.trf_textcat.focal_gamma": 1.0}
    arguments = replace(QUICK, epochs=1, balance=True, dev_split=0.2, overrides=overrides)
    finish(train_textcat(str(model), train, arguments=arguments))
    cfg = spacy.load(model).get_pipe("trf_textcat").cfg
    # 16 and 8 of 24 texts.
    assert cfg["class_weights"] == {"FILM": 1.5, "FRUIT": 0.75}
    assert cfg["focal_gamma"] == 1.0


def test_thresholds_of_a_multi_label_classifier_are_tuned(model: Path, tmp_path: Path) -> None:
    data = [{"text": row["text"], "labels": [row["label"]]} for row in rows("FRUIT", "FILM")]
    data += [{"text": "neither", "labels": []}]
    train = write(tmp_path / "a.jsonl", data)
    finish(train_textcat(str(model), train, dev=train, arguments=replace(QUICK, epochs=1)))
    classifier = spacy.load(model).get_pipe("trf_textcat")
    assert classifier.thresholds.keys() == {"FRUIT", "FILM"}
    assert len(set(classifier.thresholds.values()) | {0.5}) > 1


def test_frozen_encoder_does_not_change(model: Path, data: str) -> None:
    before = encoder_files(model)
    config = constant_rates(model.parent.parent / "a.cfg", head=0.05, encoder=1.0, dropout=0.0)
    arguments = TrainingArguments(
        epochs=20, batch_size=8, freeze_encoder=True, config=config, seed=0, linear_probe=False
    )
    events = list(train_textcat(str(model), data, dev=data, arguments=arguments))
    assert isinstance(events[0], Planned)
    assert events[0].config.trf_lr is None
    assert encoder_files(model) == before
    losses = [event.loss for event in events if isinstance(event, Evaluated)]
    assert losses[-1] < 0.7 * losses[0]
    # Chance gives 0.5, and features of random weights only a little more than 0.7.
    assert finish(iter(events)).score > 0.7


def test_other_trained_components_do_not_change(model: Path, data: str) -> None:
    nlp = spacy.load(model)
    tagger = nlp.add_pipe("tagger")
    batch = [Example.from_dict(nlp.make_doc("a dog"), {"tags": ["A", "B"]})]
    tagger.initialize(lambda: batch, nlp=nlp)
    nlp.to_disk(model)
    before = snapshot(model / "tagger")
    finish(train_textcat(str(model), data, arguments=QUICK))
    assert snapshot(model / "tagger") == before
    assert spacy.load(model).pipe_names[-2:] == ["tagger", "trf_textcat"]


def test_patience_stops_training(model: Path, data: str, scores: Callable[..., None]) -> None:
    scores(0.5, 0.7, 0.6, 0.69, 0.9)
    arguments = replace(QUICK, epochs=10, patience=2)
    events = list(train_textcat(str(model), data, dev=data, arguments=arguments))
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert [event.score for event in evaluated] == [0.5, 0.7, 0.6, 0.69]
    assert [event.kept_because for event in evaluated] == ["score", "score", None, None]
    end = finish(iter(events))
    assert end.evaluations_without_improvement == 2
    assert end.best_step == 10
    assert end.score == 0.7


def test_equal_scores_are_no_improvement(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.5, 0.7, 0.7, 0.7, 0.7)
    arguments = replace(QUICK, epochs=10, patience=2)
    events = list(train_textcat(str(model), data, dev=data, arguments=arguments))
    assert sum(isinstance(event, Evaluated) for event in events) == 4
    end = finish(iter(events))
    assert end.evaluations_without_improvement == 2
    # The latest of the equal scores is kept.
    assert end.best_step == 20


def test_patience_that_is_not_used_up_does_not_stop_training(
    model: Path, data: str, scores: Callable[..., None]
) -> None:
    scores(0.9, 0.5)
    end = finish(train_textcat(str(model), data, arguments=replace(QUICK, epochs=3, patience=2)))
    assert end.evaluations_without_improvement == 0


def test_evaluation_interval_can_be_chosen(model: Path, data: str) -> None:
    arguments = replace(QUICK, eval_every=3)
    events = list(train_textcat(str(model), data, arguments=arguments))
    # The last one is at the end.
    assert [event.step for event in events if isinstance(event, Evaluated)] == [3, 6, 9, 10]


def test_config_replaces_the_defaults(model: Path, data: str, tmp_path: Path) -> None:
    config = spacy.util.load_config(config_path("textcat.cfg"), interpolate=False)
    config["training"]["batcher"]["size"] = 12
    config["training"]["max_epochs"] = 3
    config["training"]["optimizer"]["trf_lr"]["initial_rate"] = 2e-3
    config["components"]["trf_textcat"]["architecture"] = "softmax_pooler_output"
    config["system"]["seed"] = 5
    config.to_disk(tmp_path / "a.cfg")
    plan = start(str(model), data, arguments=TrainingArguments(config=tmp_path / "a.cfg"))
    assert (plan.config.batch_size, plan.config.steps, plan.config.trf_lr) == (12, 9, 2e-3)
    # Arguments take precedence over the config.
    arguments = replace(QUICK, config=tmp_path / "a.cfg")
    plan = start(str(model), data, arguments=arguments)
    assert (plan.config.batch_size, plan.config.steps, plan.config.trf_lr) == (8, 10, 5e-3)
    finish(train_textcat(str(model), data, arguments=TrainingArguments(config=tmp_path / "a.cfg")))
    nlp = spacy.load(model)
    assert nlp.get_pipe("trf_textcat").cfg["architecture"] == "softmax_pooler_output"
    assert nlp.meta["trf"]["training"]["seed"] == 5
    assert nlp.config["training"]["batcher"]["size"] == 12


def test_learning_rate_can_be_a_number(model: Path, data: str, tmp_path: Path) -> None:
    config = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    arguments = replace(QUICK, config=config, learn_rate=None)
    plan = start(str(model), data, arguments=arguments)
    assert (plan.config.learn_rate, plan.config.trf_lr) == (0.01, 1e-3)
    plan = start(str(model), data, arguments=replace(arguments, learn_rate=2e-3))
    assert plan.config.trf_lr == 2e-3


def test_config_needs_no_schedule_section(model: Path, data: str, tmp_path: Path) -> None:
    path = constant_rates(tmp_path / "a.cfg", head=0.01, encoder=1e-3)
    config = spacy.util.load_config(path, interpolate=False)
    del config["schedule"]
    config.to_disk(path)
    assert (
        start(str(model), data, arguments=replace(QUICK, config=path, learn_rate=None)).config.steps
        == 10
    )
