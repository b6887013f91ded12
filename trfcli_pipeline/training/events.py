"""What `train_textcat` reports while it runs, for its caller to show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trfcli_pipeline.curation.self_training import SelfTraining
from trfcli_pipeline.evaluation.abstention import FittedAbstention
from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.training.config import TrainingConfig
from trfcli_pipeline.training.data import Data

# Why the weights of a step are kept. "score": no earlier score is higher. "rate": the score is
# within one standard error of the highest, and the learning rate has reached zero. "last": the dev
# set is too small to choose by, and these are the final weights. "only": there was no other
# evaluation.
KeepReason = Literal["score", "rate", "last", "only"]


@dataclass(frozen=True, slots=True)
class SeedStarted:
    """Reported before each model, if several are trained with different seeds.

    Attributes:
        number: Number of the model, from 1.
        total: Number of all models.
    """

    seed: int
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class SeedFinished:
    """Reported after each model, if several are trained with different seeds.

    Attributes:
        score: The score of its weights that are kept.
    """

    seed: int
    score: float


@dataclass(frozen=True, slots=True)
class Planned:
    """Reported before the first step: what was read, and what the training will do.

    Attributes:
        config: Fitted to the data.
        warnings: Warnings about the data.
        mean_length: Wordpieces per training text, on average.
        segments: What the encoder sees at once, as a phrase.
        classifier: What happens to the pipeline's classifier, as a phrase.
        precision: Precision of the encoder's training steps.
        methods: What goes beyond plain fine-tuning, as phrases.
        done_steps: Steps that the resumed training run had already taken.
        self_training: Whether the unlabeled texts help, and what is done about it; None without
            unlabeled texts, or if they can't be used.
    """

    config: TrainingConfig
    data: Data
    warnings: Sequence[str]
    device: str
    threads: int
    mean_length: float
    classifier: str
    segments: str
    precision: str = "fp32"
    methods: Sequence[str] = ()
    done_steps: int = 0
    self_training: SelfTraining | None = None

    @property
    def n_unlabeled(self) -> int:
        """Number of unlabeled texts that the classifier has learned from."""
        found = self.self_training
        return found.n_unlabeled if found is not None and found.helps else 0


@dataclass(frozen=True, slots=True)
class Stepped:
    """Reported after each step, with the loss of its texts."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Reported after each evaluation.

    Attributes:
        epoch: Epochs so far, with a fraction.
        loss: Mean over the steps since the last evaluation.
        words_per_second: Training speed since the last evaluation.
        metric: Name of the score that decides which weights are kept, such as "cats_macro_f".
        score: Its value.
        kept_because: Why these weights are kept; None if they aren't.
    """

    step: int
    epoch: float
    loss: float
    words_per_second: float
    metric: str
    score: float
    evaluation: Evaluation
    kept_because: KeepReason | None


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """Reported after each checkpoint: training can be resumed from here."""

    step: int


@dataclass(frozen=True, slots=True)
class TrackingStarted:
    """Reported before `Planned` if an experiment tracker is used.

    Attributes:
        tracker: Its name.
        place: Where to look at the run: an address or a directory.
    """

    tracker: str
    place: str


@dataclass(frozen=True, slots=True)
class TrackingFailed:
    """Reported once if an experiment tracker fails. Training goes on.

    Attributes:
        tracker: Its name.
        reason: What happened.
    """

    tracker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: the trained pipeline is in its place.

    Attributes:
        best_step: The step whose weights were kept.
        metric: Name of the score that decided, such as "cats_macro_f".
        score: Its value for the weights that were kept.
        highest_score: Its highest value in any evaluation.
        replaced: What was at `path` before, as a phrase; None if nothing was.
        evaluations_without_improvement: The number that stopped training early; 0 if it ran to
            its end.
        already_finished: Whether there was nothing left to resume.
        seconds: Duration of the training, evaluations included; 0 if it had already finished.
        seed: Seed of the model.
        seed_scores: The score of each model by its seed, if there are several.
        abstention: When the classifier doesn't answer, and what it promises; None if the dev set is
            too small for that.
        min_accuracy: The share of correct answers that the user asked for; None for the default.
    """

    best_step: int
    metric: str
    score: float
    highest_score: float
    path: Path
    evaluations_without_improvement: int
    kept_because: KeepReason = "score"
    replaced: str | None = None
    already_finished: bool = False
    seconds: float = 0.0
    seed: int = 0
    seed_scores: Mapping[int, float] = field(default_factory=dict)
    abstention: FittedAbstention | None = None
    min_accuracy: float | None = None


TrainingEvent = (
    SeedStarted
    | Planned
    | TrackingStarted
    | Stepped
    | Evaluated
    | Checkpointed
    | TrackingFailed
    | SeedFinished
    | Finished
)
