"""Events of a training that isn't carried out."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trfcli_pipeline.training.events import Finished, Planned

Replayed = Callable[..., dict[str, Any]]

CONFIG = SimpleNamespace(
    exclusive=False,
    trf_lr=5e-5,
    learn_rate=1e-3,
    batch_size=32,
    steps=4240,
    warmup_steps=1042,
    metric="cats_micro_f",
    decisions=["first decision (--option)", "second decision"],
)
DATA = SimpleNamespace(
    train=range(4517),
    n_available=4517,
    has_several_labels=True,
    dev=range(1501),
    dev_origin="in the dev set (dev.csv)",
    label_counts={"A": 1, "B": 2, "C": 3, "D": 40, "E": 50, "F": 600, "G": 700, "H": 4000},
)
PLAN = Planned(
    CONFIG,  # type: ignore[arg-type]
    DATA,  # type: ignore[arg-type]
    warnings=["one thing", "another"],
    device="mps",
    threads=1,
    mean_length=20.6,
    classifier="new classifier",
    segments="single sentences",
)


FINISHED = Finished(
    best_step=2820,
    metric="cats_micro_f",
    score=0.97449,
    highest_score=0.97449,
    path=Path("trained"),
    replaced=None,
    evaluations_without_improvement=0,
    seconds=112.0,
)
