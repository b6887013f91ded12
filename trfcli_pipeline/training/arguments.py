"""What a user can ask of a training run."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from trfcli_pipeline.errors import ArgumentError
from trfcli_pipeline.evaluation.abstention import Aim

LAYER_DECAY = "training.optimizer.trf_layer_decay"
TRF_LR = "training.optimizer.trf_lr.initial_rate"
# The config setting that each of these arguments changes, if it is given.
CONFIG_KEYS = {
    "exclusive": "components.trf_textcat.exclusive_classes",
    "architecture": "components.trf_textcat.architecture",
    "balance": "components.trf_textcat.class_weights",
    "segments": "components.trf_wordpiecer.segments",
    "epochs": "training.max_epochs",
    "batch_size": "training.batcher.size",
    "learn_rate": TRF_LR,
    "patience": "training.patience",
    "eval_every": "training.eval_frequency",
    "seed": "system.seed",
}


@dataclass(frozen=True, slots=True)
class TrainingArguments:
    """What a user can ask of a training run; None leaves the choice to the config or the data.

    Attributes:
        config: Config file with the defaults; by default one that the package ships.
        overrides: Values for settings of the config by their dotted keys, such as
            `{"training.dropout": 0.1}`. They take precedence over everything else.
        dev_split: Share of the training texts to hold out if there is no dev file; by default a
            tenth, at most 10,000 texts.
        corrections: File with corrections of the labels of training texts; see
            `data/corrections.py`.
        exclusive: Whether exactly one label applies to each text.
        architecture: Name of the classifier's architecture.
        balance: Whether to weight labels by the inverse of their frequency.
        drop_labels: Whether to remove labels of an existing classifier that no training text
            mentions.
        segments: What the encoder sees at once: "windows", "sentences" or "doc"; see
            `tokenization/segments.py`.
        max_texts: Maximum number of training texts; drawn at random if there are more.
        epochs: Passes over the training texts.
        batch_size: Texts per batch, in each process.
        learn_rate: Peak learning rate of the encoder.
        patience: Evaluations without improvement after which training stops; 0 for never.
        eval_every: Steps between evaluations; by default an epoch, or several if the epochs
            are short.
        checkpoint_every: Steps between checkpoints; by default `eval_every`, 0 for none.
        freeze_encoder: Whether to train the classifier only.
        freeze_layers: Number of the encoder's lowest layers to freeze, with the embeddings.
        lora: Rank of the LoRA adapters to train instead of the encoder's own weights.
        precision: Precision of the encoder's training steps; see `encoder/precision.py`. "auto"
            leaves it to the pipeline.
        seed: Seed of all random numbers.
        seeds: Number of models to train, each with the next seed, but on the same texts. The one
            with the median score is kept.
        data_seed: Seed by which dev texts are held out and `max_texts` are drawn; by default
            `seed`.
        coverage: Share of the texts to answer; the others are marked as unsure.
        min_accuracy: Share of the answers that are to be correct, by default 0.95; see
            `evaluation/abstention.py`.
        device: Where to train; see `encoder/devices.py`.
        linear_probe: Whether a new classifier starts as a linear probe of the untrained encoder; by
            default if the encoder is frozen, or if there are few texts and no config file.
        fixed: Dotted keys of settings that follow from the number of texts unless they are here:
            then the value in the config file applies.

    Raises:
        ArgumentError: Two of the arguments contradict each other.
    """

    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    dev_split: float | None = None
    corrections: Path | None = None
    exclusive: bool | None = None
    architecture: str | None = None
    balance: bool = False
    drop_labels: bool = False
    segments: str | None = None
    max_texts: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learn_rate: float | None = None
    patience: int | None = None
    eval_every: int | None = None
    checkpoint_every: int | None = None
    freeze_encoder: bool = False
    freeze_layers: int = 0
    lora: int | None = None
    precision: str = "auto"
    seed: int | None = None
    seeds: int = 1
    data_seed: int | None = None
    coverage: float | None = None
    min_accuracy: float | None = None
    device: str = "auto"
    linear_probe: bool | None = None
    fixed: Collection[str] = ()

    def __post_init__(self) -> None:
        self._check_frozen()
        self._check_overrides()
        if self.coverage is not None and self.min_accuracy is not None:
            raise ArgumentError(
                "--coverage can't be combined with --min-accuracy: one follows from the other",
                hint="Leave out one or the other",
            )

    def as_json(self) -> dict[str, Any]:
        """All arguments, in values that JSON can hold; of files only the names."""
        changed = {
            "config": self.config and self.config.name,
            "corrections": self.corrections and self.corrections.name,
            "fixed": list(self.fixed),
        }
        return {**asdict(self), **changed}

    def chosen(self) -> dict[str, Any]:
        """What differs from the defaults: arguments by their names, overrides by their keys."""
        given, defaults = self.as_json(), TrainingArguments().as_json()
        overrides = given.pop("overrides")
        return {name: each for name, each in given.items() if each != defaults[name]} | overrides

    def overrides_key(self, key: str) -> bool:
        """Whether the overrides set a setting, a part of it, or the section it is in."""
        return any(_overlap(key, each) for each in self.overrides)

    def fixes(self, key: str) -> bool:
        """Whether a setting has a chosen value, which the number of texts doesn't change."""
        return key in self.overrides or key in self.fixed

    def chooses(self, name: str) -> bool:
        """Whether the user chose a value, by this argument or by an override in its place."""
        return getattr(self, name) is not None or self.overrides_key(CONFIG_KEYS[name])

    @property
    def aim(self) -> Aim:
        """What decides which texts are answered."""
        if self.coverage is not None:
            return Aim("coverage", self.coverage)
        return Aim() if self.min_accuracy is None else Aim("accuracy", self.min_accuracy)

    @property
    def asks_for_abstention(self) -> bool:
        """Whether the user chose how many texts to answer."""
        return self.coverage is not None or self.min_accuracy is not None

    def is_exclusive(self) -> bool | None:
        """Whether exactly one label applies to each text, if the user says so."""
        return self.overrides.get(CONFIG_KEYS["exclusive"], self.exclusive)

    def _check_frozen(self) -> None:
        about_encoder = {
            f"--{LAYER_DECAY}": LAYER_DECAY in self.overrides,
            "--freeze-layers": self.freeze_layers > 0,
            "--lora": self.lora is not None,
            "--precision": self.precision not in ("auto", "fp32"),
        }
        given = [option for option, is_given in about_encoder.items() if is_given]
        if self.freeze_encoder and given:
            raise ArgumentError(
                f"{' and '.join(given)} can't be combined with --freeze-encoder, which trains "
                "the classifier only",
                hint="Leave out one or the other",
            )

    def _check_overrides(self) -> None:
        for name, key in CONFIG_KEYS.items():
            value = getattr(self, name)
            is_given = value is not None and (value is not False or name == "exclusive")
            if is_given and self.overrides_key(key):
                raise _conflict(_option(name), next(k for k in self.overrides if _overlap(key, k)))
        for one, other in combinations(self.overrides, 2):
            if _overlap(one, other):
                raise _conflict(f"--{one}", other)


def _overlap(key: str, other: str) -> bool:
    """Whether two dotted keys are the same, or one is a part of the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _option(name: str) -> str:
    return "--exclusive/--multilabel" if name == "exclusive" else f"--{name.replace('_', '-')}"


def _conflict(option: str, key: str) -> ArgumentError:
    return ArgumentError(
        f"{option} and --{key} set the same thing", hint="Leave out one or the other"
    )
