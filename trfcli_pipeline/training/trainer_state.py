"""The state of a training run, as its checkpoints save it."""

from dataclasses import dataclass, field
from typing import Any

from trfcli_pipeline.training.events import KeepReason


@dataclass(slots=True)
class TrainerState:
    """The state of a training run, in values that JSON can hold.

    Attributes:
        step: Steps taken so far.
        epoch: Epochs completed so far.
        epoch_step: Steps taken in the current epoch.
        order: State of Python's random generator before the epoch's texts were shuffled.
        losses: Loss of each step since the last evaluation.
        words: Words trained on since the last evaluation, in `word_seconds`.
        seconds: Duration of the run so far.
        best_step: Step of the weights that are kept.
        best_score: Score of the weights that are kept.
        kept_because: Why they are kept.
        improved_step: Step at which the score last rose.
        history: The rows of `training.jsonl`, one per evaluation.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    order: Any = None
    losses: list[float] = field(default_factory=list)
    words: int = 0
    word_seconds: float = 0.0
    seconds: float = 0.0
    best_step: int = 0
    best_score: float = -1.0
    kept_because: KeepReason = "score"
    improved_step: int = 0
    stopped_early: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
