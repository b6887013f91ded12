"""What the command does with the events, whatever training they come from."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from train_command import Run

from trfcli_pipeline import training
from trfcli_pipeline.training import Evaluated, Event, Finished, Planned, Stepped
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.events import Choice


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Puts prepared events in place of a training; returns what the command asked for."""

    def replay(*events: Event) -> dict[str, Any]:
        asked: dict[str, Any] = {}

        def train_textcat(model: str, train: str, **options: Any) -> Iterator[Event]:
            asked.update(options, model=model, train=train)
            yield from events

        monkeypatch.setattr(training, "train_textcat", train_textcat)
        return asked

    return replay


PLAN = Planned(
    train_texts=4517,
    dev_texts=1501,
    dev_origin="from dev.csv",
    label_counts={"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 6, "G": 7, "H": 72},
    exclusive=False,
    remarks=["one thing", "another"],
    device="mps",
    threads=1,
    trf_lr=5e-5,
    learn_rate=1e-3,
    batch_size=32,
    steps=4240,
    warmup_steps=1042,
    mean_length=20.6,
    classifier="new classifier",
    segments="single sentences",
)


FINISHED = Finished(
    best_step=2820,
    metric="cats_micro_f",
    score=0.97449,
    path=Path("trained"),
    was=None,
    stopped_early=False,
    seconds=112.0,
)


def evaluated(step: int, choice: Choice | None) -> Evaluated:
    scores = SimpleNamespace(accuracy=0.98249, macro_f=0.9605)
    return Evaluated(step, step / 1410, 0.04151, 13_409.7, 0.9605, scores, choice)  # type: ignore[arg-type]


def test_figures_are_for_people(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
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
        "✔ 4,517 texts to train on, 1,501 for dev (from dev.csv); 8 labels, multi-label: "
        "H 72.0 %, G 7.0 %, F 6.0 %, E 5.0 %, D 4.0 %, C 3.0 % and 2 more",
        "⚠ one thing",
        "⚠ another",
        "ℹ MPS, 1 thread; encoder rate 5e-05, head rate 1e-03, batch 32, 4,240 steps, "
        "warm-up 1,042; single sentences, mean length 21 wordpieces; new classifier",
        "   step   epoch     loss  accuracy  macro F   words/s",
        "  1,410    1.00    0.042     0.982    0.961    13,410  ← best",
        "  2,820    2.00    0.042     0.982    0.961    13,410",
        "✔ Best dev micro F 0.974 at step 2,820; saved to trained",
        "  Next: trf evaluate trained test.jsonl",
    ]


def test_methods_are_named(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    methods = ["lowest 2 of 6 layers frozen", "layer decay 0.9"]
    replayed(replace(PLAN, precision="bf16", methods=methods), FINISHED)
    assert (
        "ℹ MPS, bf16, 1 thread; encoder rate 5e-05, head rate 1e-03, lowest 2 of 6 layers frozen, "
        "layer decay 0.9, batch 32, 4,240 steps, "
    ) in run("train", "model", "train.csv").stderr


@pytest.mark.parametrize(
    ("choice", "why"),
    [("rate", "less than before by chance at most"), ("last", "of too few texts to tell much")],
)
def test_that_the_last_state_is_kept_is_explained(
    run: Run, replayed: Callable[..., dict[str, Any]], choice: Choice, why: str
) -> None:
    replayed(
        PLAN, evaluated(1410, "score"), evaluated(2820, choice), replace(FINISHED, choice=choice)
    )
    lines = run("train", "model", "train.csv").stderr.splitlines()
    assert [line.split()[-1] for line in lines if "13,410" in line] == ["best", "kept"]
    assert lines[-2] == f"✔ Dev micro F 0.974 at the end, {why}; saved to trained"


def test_a_lower_rate_is_explained(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    replayed(replace(PLAN, rate_rule="1e-04 for up to 300 steps"), FINISHED)
    assert (
        "; encoder rate 5e-05 (1e-04 for up to 300 steps), head rate 1e-03, "
        in run("train", "model", "train.csv").stderr
    )


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
        (["--pooling", "max"], "pooling", "max"),
        (["--balance"], "balance", True),
        (["--focal-gamma", "2"], "focal_gamma", 2.0),
        (["--accumulate", "2"], "accumulate", 2),
        (["--layer-decay", "0.9"], "layer_decay", 0.9),
        (["--freeze-layers", "2"], "freeze_layers", 2),
        (["--lora", "8"], "lora", 8),
        (["--precision", "bf16"], "precision", "bf16"),
        (["--averages"], "averages", True),
        (["-c", "my.cfg"], "config", Path("my.cfg")),
    ],
    ids=lambda value: " ".join(value) or "none" if isinstance(value, list) else "",
)
def test_each_option_changes_one_setting(
    run: Run,
    replayed: Callable[..., dict[str, Any]],
    options: list[str],
    name: str | None,
    value: object,
) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", *options).exit_code == 0
    changed = {} if name is None else {name: value}
    assert asked == {
        "model": "model",
        "train": "train.csv",
        "dev": None,
        "output": None,
        "settings": TrainingArguments(**changed),  # type: ignore[arg-type]
        "resume": False,
    }


def test_resume_is_passed_on(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    asked = replayed(replace(PLAN, done_steps=40), FINISHED)
    result = run("train", "model", "train.csv", "--resume")
    assert asked["resume"] is True
    assert "ℹ Goes on after step 40 of 4,240" in result.stderr.splitlines()
    replayed(PLAN, replace(FINISHED, was_finished=True))
    result = run("train", "model", "train.csv", "--resume")
    assert "ℹ There is no checkpoint to go on from; starts from the beginning" in result.stderr
    assert "ℹ This training had already ended: trained is its result" in result.stderr


def test_dev_and_output_have_short_names(run: Run, replayed: Callable[..., dict[str, Any]]) -> None:
    asked = replayed(PLAN, FINISHED)
    assert run("train", "model", "train.csv", "-d", "dev.csv", "-o", "trained").exit_code == 0
    assert (asked["dev"], asked["output"]) == ("dev.csv", Path("trained"))
