"""How the command shows events, and which arguments it passes on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from train_command import Run
from train_events import CONFIG, DATA, FINISHED, PLAN, Replayed

from trfcli_pipeline.curation.self_training import SelfTraining
from trfcli_pipeline.data.dataset import DataSet
from trfcli_pipeline.evaluation.abstention import Abstention, Aim, FittedAbstention
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import (
    Evaluated,
    KeepReason,
    Stepped,
)

AVERAGES = {"training.optimizer.use_averages": True}
POOLING = {"components.trf_textcat.pooling": "max"}
WEIGHTS = {"components.trf_textcat.class_weights": {"A": 2}}


def changed(facts: SimpleNamespace, **values: Any) -> Any:
    return SimpleNamespace(**vars(facts) | values)


def evaluated(step: int, reason: KeepReason | None, *, metric: str = "cats_micro_f") -> Evaluated:
    scores = SimpleNamespace(accuracy=0.98249, macro_f=0.9605)
    return Evaluated(step, step / 1410, 0.04151, 13_409.7, metric, 0.9745, scores, reason)  # type: ignore[arg-type]


def test_events_are_shown(run: Run, replayed: Replayed) -> None:
    replayed(
        PLAN,
        Stepped(1, 0.7),
        evaluated(1410, "score"),
        Stepped(2, 0.5),
        evaluated(2820, None),
        FINISHED,
    )
    result = run("train", "model", "train.csv")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "✔ 4,517 texts to train on, 1,501 in the dev set (dev.csv); 8 labels, several per text: "
        "H on 88.6 % of texts, G on 15.5 %, F on 13.3 %, E on 1.1 %, D on 0.9 % and 3 more",
        "⚠ one thing",
        "⚠ another",
        "ℹ first decision (--option)",
        "ℹ second decision",
        "ℹ MPS, 1 thread; learning rate 5e-5 for the encoder, 1e-3 for the classifier; "
        "batch size 32, 4,240 steps, 1,042 of them warm-up",
        "ℹ Encoder input: single sentences; 21 wordpieces per text on average; new classifier",
        "   step   epoch     loss  accuracy  macro F  micro F  words/s",
        "  1,410    1.00    0.042     0.982    0.961    0.975   13,410  ← best",
        "  2,820    2.00    0.042     0.982    0.961    0.975   13,410",
        "✔ Kept the model of step 2,820, the best on the dev set (micro F 0.974). Saved to trained",
        "  Next: trf evaluate trained test.jsonl",
    ]


@pytest.mark.parametrize(
    ("counts", "several", "stated"),
    [
        ({"A": 40, "B": 30}, True, "2 labels, several per text: A on 40.0 % of texts, B on 30.0 %"),
        ({"A": 40, "B": 30}, False, "2 labels, at most one per text: A on 40.0 % of texts, B on 3"),
        ({"only": 50}, False, "1 label: only on 50.0 % of texts\n"),
    ],
)
def test_shares_of_labels_are_shares_of_texts(
    run: Run, replayed: Replayed, counts: dict[str, int], several: bool, stated: str
) -> None:
    data = changed(DATA, train=range(100), label_counts=counts, has_several_labels=several)
    replayed(replace(PLAN, data=data), FINISHED)
    assert f"; {stated}" in run("train", "model", "train.csv").stderr


@pytest.mark.parametrize(
    ("metric", "columns", "cells"),
    [
        ("accuracy", "accuracy macro F words/s", "0.982 0.961 13,410"),
        ("cats_macro_f", "accuracy macro F words/s", "0.982 0.961 13,410"),
        ("cats_macro_auc", "accuracy macro F macro AUC words/s", "0.982 0.961 0.975 13,410"),
        ("accuracy + ece", "accuracy macro F score words/s", "0.982 0.961 0.975 13,410"),
    ],
)
def test_metric_that_decides_is_among_the_columns(
    run: Run, replayed: Replayed, metric: str, columns: str, cells: str
) -> None:
    plan = replace(PLAN, config=changed(CONFIG, metric=metric))
    replayed(plan, evaluated(1410, None, metric=metric), FINISHED)
    header, row = run("train", "model", "train.csv").stderr.splitlines()[-4:-2]
    assert header.split() == ["step", "epoch", "loss", *columns.split()]
    assert row.split() == ["1,410", "1.00", "0.042", *cells.split()]
    assert len(header) == len(row)


def test_texts_that_were_left_out_are_shown(run: Run, replayed: Replayed) -> None:
    replayed(replace(PLAN, data=changed(DATA, train=range(600))), FINISHED)
    assert (
        "✔ 600 of 4,517 texts (--max-texts) to train on, 1,501 in the dev set"
        in run("train", "model", "train.csv").stderr
    )


def test_precision_and_methods_are_shown(run: Run, replayed: Replayed) -> None:
    methods = ["lowest 2 of 6 layers frozen", "layer decay 0.9"]
    replayed(replace(PLAN, precision="bf16", methods=methods), FINISHED)
    assert (
        "ℹ MPS, 1 thread, bf16; learning rate 5e-5 for the encoder, 1e-3 for the classifier, "
        "lowest 2 of 6 layers frozen, layer decay 0.9; batch size 32, 4,240 steps, "
    ) in run("train", "model", "train.csv").stderr


def test_frozen_encoder_has_no_learning_rate(run: Run, replayed: Replayed) -> None:
    replayed(replace(PLAN, config=changed(CONFIG, trf_lr=None)), FINISHED)
    stderr = run("train", "model", "train.csv").stderr
    assert "; encoder frozen, learning rate 1e-3 for the classifier; batch size" in stderr


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("rate", "(micro F 0.974); the earlier 0.981 is within one standard error"),
        ("last", "(micro F 0.974); the dev set is too small to choose another"),
        ("only", "(micro F 0.974)"),
    ],
)
def test_why_the_final_model_is_kept_is_explained(
    run: Run, replayed: Replayed, reason: KeepReason, kept: str
) -> None:
    finished = replace(FINISHED, highest_score=0.981, kept_because=reason)
    replayed(PLAN, evaluated(1410, "score"), evaluated(2820, reason), finished)
    lines = run("train", "model", "train.csv").stderr.splitlines()
    assert [line.split()[-1] for line in lines if "13,410" in line] == ["best", "kept"]
    assert lines[-2] == f"✔ Kept the final model {kept}. Saved to trained"


@pytest.mark.parametrize(
    ("number", "evaluations"), [(1, "1 evaluation"), (3, "3 evaluations")], ids=str
)
def test_early_stopping_is_explained(
    run: Run, replayed: Replayed, number: int, evaluations: str
) -> None:
    replayed(PLAN, replace(FINISHED, evaluations_without_improvement=number))
    lines = run("train", "model", "train.csv").stderr.splitlines()
    assert lines[-3] == f"ℹ Stopped early: no improvement for {evaluations} (--patience)"


def test_replaced_pipeline_is_named_and_the_next_command_can_be_copied(
    run: Run, replayed: Replayed
) -> None:
    path, replaced = Path("my models", "one"), "a pipeline without a text classifier"
    replayed(PLAN, replace(FINISHED, path=path, replaced=replaced))
    lines = run("train", "model", "train.csv").stderr.splitlines()
    assert lines[-2].endswith(
        "Saved to my models/one, replacing a pipeline without a text classifier"
    )
    assert lines[-1] == "  Next: trf evaluate 'my models/one' test.jsonl"


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ([], None, None),
        (["-n", "3"], "epochs", 3),
        (["-b", "16"], "batch_size", 16),
        (["--learn-rate", "3e-5"], "learn_rate", 3e-5),
        (["--architecture", "softmax_pooler_output"], "architecture", "softmax_pooler_output"),
        (["--patience", "0"], "patience", 0),
        (["--eval-every", "9"], "eval_every", 9),
        (["--freeze-encoder"], "freeze_encoder", True),
        (["--seed", "0"], "seed", 0),
        (["--device", "cuda:1"], "device", "cuda:1"),
        (["--dev-split", "0.25"], "dev_split", 0.25),
        (["--exclusive"], "exclusive", True),
        (["--multilabel"], "exclusive", False),
        (["--max-texts", "10"], "max_texts", 10),
        (["--checkpoint-every", "0"], "checkpoint_every", 0),
        (["--segments", "doc"], "segments", "doc"),
        (["--balance"], "balance", True),
        (["--drop-labels"], "drop_labels", True),
        (["--freeze-layers", "2"], "freeze_layers", 2),
        (["--lora", "8"], "lora", 8),
        (["--precision", "bf16"], "precision", "bf16"),
        (["-c", "my.cfg"], "config", Path("my.cfg")),
        (["--training.dropout", "0.1"], "overrides", {"training.dropout": 0.1}),
        (["--training.dropout=0.1"], "overrides", {"training.dropout": 0.1}),
        (["--training.patience", "-1"], "overrides", {"training.patience": -1}),
        (["--training.optimizer.use-averages"], "overrides", AVERAGES),
        (["--training.optimizer.use_averages", "true"], "overrides", AVERAGES),
        (["--components.trf_textcat.pooling=max"], "overrides", POOLING),
        (
            ["--components.trf_textcat.pooling", "max", "--training.optimizer.use_averages"],
            "overrides",
            POOLING | AVERAGES,
        ),
        (['--components.trf_textcat.class_weights={"A": 2}'], "overrides", WEIGHTS),
    ],
    ids=lambda value: " ".join(value) or "none" if isinstance(value, list) else "",
)
def test_each_option_is_passed_on(
    run: Run,
    replayed: Replayed,
    options: list[str],
    name: str | None,
    value: object,
) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", *options).exit_code == 0
    given = {} if name is None else {name: value}
    assert asked == {
        "model": "model",
        "train": DataSet.named("train.csv"),
        "dev": None,
        "unlabeled": None,
        "output": None,
        "arguments": TrainingArguments(**given),  # type: ignore[arg-type]
        "resume": False,
        "force": False,
        "track": None,
    }


def test_overrides_can_come_before_the_arguments(run: Run, replayed: Replayed) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "--training.dropout", "0.1", "model", "train.csv").exit_code == 0
    assert (asked["model"], asked["train"]) == ("model", DataSet.named("train.csv"))
    assert asked["arguments"].overrides == {"training.dropout": 0.1}


def test_resuming_is_shown(run: Run, replayed: Replayed) -> None:
    asked = replayed(replace(PLAN, done_steps=40), FINISHED)
    result = run("train", "model", "train.csv", "--resume")
    assert asked["resume"] is True
    assert "ℹ Resuming after step 40 of 4,240" in result.stderr.splitlines()
    replayed(PLAN, replace(FINISHED, already_finished=True))
    result = run("train", "model", "train.csv", "--resume")
    assert "ℹ No checkpoint to resume from: starting from the beginning" in result.stderr
    assert "ℹ This training had already finished; its result is trained" in result.stderr


def test_dev_and_output_have_short_names(run: Run, replayed: Replayed) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", "-d", "dev.csv", "-o", "trained").exit_code == 0
    assert (asked["dev"], asked["output"]) == (DataSet.named("dev.csv"), Path("trained"))


def test_arguments_after_two_dashes_are_not_options(run: Run, replayed: Replayed) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "--epochs", "2", "--", "model", "--train.csv").exit_code == 0
    assert asked["train"] == DataSet.named("--train.csv")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            None,
            "ℹ Answers every text: no confidence threshold ensures on the dev set that 95.0 % of "
            "the answers are right (--min-accuracy, --coverage)",
        ),
        (
            0.95,
            "⚠ --min-accuracy 0.95 can't be ensured with 500 dev texts: the classifier answers "
            "every text. A lower value or more dev texts may help",
        ),
    ],
)
def test_accuracy_out_of_reach_is_a_warning_if_it_was_asked_for(
    run: Run, replayed: Replayed, asked: float | None, line: str
) -> None:
    always = FittedAbstention(Abstention(1.0, None, 0.1), Aim(), 500, None, None, None, 1.2)
    replayed(PLAN, replace(FINISHED, abstention=always, min_accuracy=asked))
    assert line in run("train", "model", "train.csv").stderr.splitlines()


@pytest.mark.parametrize("option", ["--unlabeled", "--unlabelled"])
@pytest.mark.parametrize(
    ("after", "message"),
    [
        (0.9, "start uses 60 unlabeled texts, which lowers the cross-fitted log loss: "),
        (1.5, "start doesn't use 60 unlabeled texts, which wouldn't lower the cross-fitted log "),
        # The difference doesn't show.
        (
            1.0849,
            "start doesn't use 60 unlabeled texts, which wouldn't lower the cross-fitted log ",
        ),
    ],
)
def test_whether_unlabeled_texts_help_is_said_either_way(
    run: Run, replayed: Replayed, option: str, after: float, message: str
) -> None:
    found = SelfTraining(cast(Any, None), 60, 1.085, after, 0.56, 0.6)
    asked = replayed(replace(PLAN, self_training=found), FINISHED)
    result = run("train", "model", "train.csv", option, "dev.csv")
    assert asked["unlabeled"] == DataSet.named("dev.csv")
    assert message in result.stderr
    metrics = f"1.085 without and {after:.3f} with unlabeled texts (accuracy 0.56 and 0.60)"
    assert f"log loss: {metrics}" in result.stderr
