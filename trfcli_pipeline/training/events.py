"""What happens in a training, for whoever runs it to show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trfcli_pipeline.evaluation.results import Evaluation

# Why a state is kept: its score is the highest so far; or is lower, but by chance at most (a
# standard error), and the learning rate has come down to zero; or dev is too small to choose by,
# and it is the last.
Choice = Literal["score", "rate", "last"]


@dataclass(frozen=True, slots=True)
class Planned:
    """The first event: what was read, and what is going to be done.

    Attributes:
        dev_origin: Where the dev texts come from, as a phrase.
        label_counts: Training texts of each label.
        remarks: What is odd about the data.
        mean_length: Wordpieces of a training text.
        segments: What the encoder sees at once, as a phrase.
        classifier: What becomes of the pipeline's classifier, as a phrase.
        precision: What the encoder's gradients are computed in.
        methods: What is done beyond plain fine-tuning, as phrases.
        size_rule: What the number of texts changed in the recipe, as a phrase.
        rate_rule: From what the number of steps lowered `trf_lr`, as a phrase.
        done_steps: Steps that were taken before, by the training that this one resumes.
    """

    train_texts: int
    dev_texts: int
    dev_origin: str
    label_counts: Mapping[str, int]
    exclusive: bool
    remarks: Sequence[str]
    device: str
    threads: int
    trf_lr: float | None
    learn_rate: float
    batch_size: int
    steps: int
    warmup_steps: int
    mean_length: float
    classifier: str
    segments: str
    precision: str = "fp32"
    methods: Sequence[str] = ()
    size_rule: str | None = None
    rate_rule: str | None = None
    done_steps: int = 0


@dataclass(frozen=True, slots=True)
class Stepped:
    """An event after each step. The loss is the batch's."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An event after each evaluation.

    Attributes:
        loss: Mean of the steps since the last evaluation.
        words_per_second: Trained on since the last evaluation.
        score: What the best state is chosen by.
        choice: Why the state is kept; None if it isn't.
    """

    step: int
    epoch: float
    loss: float
    words_per_second: float
    score: float
    evaluation: Evaluation
    choice: Choice | None


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """An event after each checkpoint: from here, the training can be resumed."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the best state is in its place.

    Attributes:
        metric: Name of the score that decided, such as "cats_macro_f".
        choice: Why the state is kept.
        was: What was at `path` before, as a phrase; None if nothing was.
        stopped_early: Whether patience ended the training.
        seconds: Time of the training, evaluations included.
        was_finished: Whether there was nothing to resume, as the training had ended before.
    """

    best_step: int
    metric: str
    score: float
    path: Path
    was: str | None
    stopped_early: bool
    seconds: float
    choice: Choice = "score"
    was_finished: bool = False


Event = Planned | Stepped | Evaluated | Checkpointed | Finished
