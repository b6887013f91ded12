"""How the command shows several seeds, and what an experiment tracker does."""

from dataclasses import replace

from train_command import Run
from train_events import FINISHED, PLAN, Replayed

from trfcli_pipeline.training.events import (
    SeedFinished,
    SeedStarted,
    TrackingFailed,
    TrackingStarted,
)


def test_several_seeds_are_counted_and_compared(run: Run, replayed: Replayed) -> None:
    scores = {3: 0.91, 4: 0.95, 5: 0.93}
    asked = replayed(
        *(
            event
            for number, seed in enumerate(scores, start=1)
            for event in (SeedStarted(seed, number, 3), PLAN, SeedFinished(seed, scores[seed]))
        ),
        replace(FINISHED, score=0.93, seed=5, seed_scores=scores),
    )
    result = run("train", "model", "train.csv", "--seeds", "3", "--seed", "3")
    assert asked["arguments"].seeds == 3
    lines = result.stderr.splitlines()
    # The data is described once.
    assert sum("texts to train on" in line for line in lines) == 1
    assert [line for line in lines if "seed" in line.lower()] == [
        "ℹ Seed 1 of 3 (--seed 3)",
        "ℹ Seed 2 of 3 (--seed 4)",
        "ℹ Seed 3 of 3 (--seed 5)",
        "ℹ 3 seeds: mean micro F 0.930, standard deviation 0.020 "
        "(seed 3 0.910, seed 4 0.950, seed 5 0.930)",
        "ℹ Kept seed 5, the median",
    ]


def test_tracking_is_shown(run: Run, replayed: Replayed) -> None:
    asked = replayed(
        TrackingStarted("wandb", "https://wandb.ai/team/spam/runs/1"),
        PLAN,
        TrackingFailed("wandb", "the server is down"),
        FINISHED,
    )
    result = run("train", "model", "train.csv", "--track", "wandb")
    assert result.exit_code == 0
    assert asked["track"] == "wandb"
    assert [line for line in result.stderr.splitlines() if "wandb" in line] == [
        "ℹ Logging to wandb: https://wandb.ai/team/spam/runs/1",
        "⚠ Training goes on without wandb, which failed: the server is down",
    ]
