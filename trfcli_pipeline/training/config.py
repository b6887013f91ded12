"""What a training does: the settings of a config file, of the user, and of the data's size."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.util import registry
from thinc.api import Config, ConfigValidationError, Optimizer

from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.errors import ArgumentError, DataError
from trfcli_pipeline.heads.architectures import CLASSIFIERS

TEXTCAT, WORDPIECER = "trf_textcat", "trf_wordpiecer"
_WARMUP_SHARE = 0.1
# Below this many texts, batches are smaller: a step is cheap, and there are few of them. And a
# new classifier starts at a linear probe: see `heads/initialization.py`.
_FEW_TEXTS, _SMALL_BATCH = 500, 16
# Fewer steps than these don't get the encoder anywhere.
_LEAST_STEPS = 200
# Then epochs are short, and no more evaluations than these are worth their time and their lines.
_EVALUATIONS = 10
_MANY_TEXTS, _EPOCHS_OF_MANY = 50_000, 2
# With more steps than these, the encoder gets as far at a lower rate, and learns less by heart: the
# rate is divided by their number, down to the least that is common.
_FULL_RATE_STEPS, _LEAST_RATE = 300, 2e-5
# Adapters take ten times the rate of an encoder's own weights.
_LORA_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class TrainingArguments:
    """What a user can ask of a training; None leaves a thing to the config or the data.

    Attributes:
        config: A config file to take the other defaults from.
        dev_split: Share of the training texts to hold out where there is no dev file; by default a
            tenth, at most 10,000 texts.
        exclusive: Whether exactly one label holds for a text.
        learn_rate: Of the encoder.
        patience: Evaluations without a better score after which to end.
        eval_every: Steps from one evaluation to the next; by default those of an epoch, or of
            several where few texts get many.
        checkpoint_every: Steps from one checkpoint to the next; those of `eval_every` if None, 0
            for no checkpoints.
        max_texts: The most texts to train on, drawn at random.
        segments, pooling: As of `segments.Segmentation` and `architectures.make_classifier`.
        balance: Whether to weigh labels by how rare they are.
        focal_gamma: How much less a text counts that is right already; see `losses.py`.
        accumulate: Batches whose gradients make one step.
        layer_decay: The rate of a layer of the encoder, as a multiple of that of the layer above.
        freeze_layers: How many of the encoder's lowest layers stay as they are.
        lora: Rank of the adapters that are trained in place of the encoder's own weights.
        precision: As of `precision.resolve_precision`; "auto" leaves it to the pipeline.
        averages: Whether to evaluate and save averages of the weights over the steps.

    Raises:
        ArgumentError: Some are about training the encoder, others about not doing so.
    """

    config: Path | None = None
    dev_split: float | None = None
    exclusive: bool | None = None
    architecture: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learn_rate: float | None = None
    patience: int | None = None
    eval_every: int | None = None
    checkpoint_every: int | None = None
    freeze_encoder: bool = False
    seed: int | None = None
    device: str = "auto"
    max_texts: int | None = None
    segments: str | None = None
    pooling: str | None = None
    balance: bool = False
    focal_gamma: float | None = None
    accumulate: int | None = None
    layer_decay: float | None = None
    freeze_layers: int = 0
    lora: int | None = None
    precision: str = "auto"
    averages: bool = False

    def __post_init__(self) -> None:
        of_training = {
            "--layer-decay": self.layer_decay is not None,
            "--freeze-layers": self.freeze_layers > 0,
            "--lora": self.lora is not None,
            "--precision": self.precision not in ("auto", "fp32"),
        }
        asked = [option for option, is_given in of_training.items() if is_given]
        if self.freeze_encoder and asked:
            raise ArgumentError(
                f"{' and '.join(asked)} can't go with --freeze-encoder, which doesn't train the "
                "encoder at all",
                hint="Leave out the one or the other",
            )


def config_path(name: str) -> Path:
    """A config file that the package ships."""
    return shipped_path(f"configs/{name}")


class TrainingConfig:
    """A config file with what the user asks for; after `fit` also with what the data asks for.

    Args:
        exclusive: Whether exactly one label holds for a text.
        n_processes: How many processes train together, each with batches of the size asked for.

    Raises:
        DataError: The config file can't be used.
    """

    def __init__(
        self, settings: TrainingArguments, *, exclusive: bool, n_processes: int = 1
    ) -> None:
        default = "textcat.cfg" if exclusive else "textcat_multilabel.cfg"
        self.path = settings.config or config_path(default)
        self.settings = settings
        self.exclusive = exclusive
        self.n_processes = n_processes
        # What the number of texts changed, as a phrase.
        self.size_rule: str | None = None
        # From what the encoder's rate was lowered, as a phrase.
        self.rate_rule: str | None = None
        self._is_few = False
        self._epochs_an_evaluation = 1
        if not self.path.is_file():
            raise DataError(f"{self.path}: there is no such config file")
        with _explained(self.path):
            self._raw = Config().from_disk(self.path, interpolate=False)
            self._ask(exclusive)
            self.config = self._raw.interpolate()
            self.seed: int = self.config["system"]["seed"]

    def fit(self, n_texts: int) -> None:
        """Work out the steps for so many training texts, and the schedules that depend on them.

        Raises:
            DataError: The config file can't be used.
        """
        with _explained(self.path):
            self._set_steps(n_texts)
            self.config = self._raw.interpolate()
            self.T: Mapping[str, Any] = registry.resolve(
                self.config["training"], schema=ConfigSchemaTraining
            )

    @property
    def optimizer(self) -> Optimizer:
        return self.T["optimizer"]

    @property
    def trf_lr(self) -> float | None:
        """Peak rate of the encoder, None if it isn't trained."""
        if self.settings.freeze_encoder:
            return None
        return _peak(self.config["training"]["optimizer"]["trf_lr"])

    @property
    def layer_decay(self) -> float:
        """The rate of a layer of the encoder, as a multiple of that of the layer above."""
        return getattr(self.optimizer, "trf_layer_decay", 1.0)

    @property
    def averages(self) -> bool:
        """Whether averages of the weights are kept."""
        return self.optimizer.averages is not None

    @property
    def learn_rate(self) -> float:
        """Peak rate of the head."""
        return _peak(self.config["training"]["optimizer"]["learn_rate"])

    @property
    def batch_size(self) -> int:
        return self.config["training"]["batcher"]["size"]

    @property
    def epochs(self) -> int:
        return self.config["training"]["max_epochs"]

    @property
    def steps(self) -> int:
        return self.config["training"]["max_steps"]

    @property
    def warmup_steps(self) -> int:
        return self.config["schedule"]["warmup_steps"]

    @property
    def starts_at_probe(self) -> bool:
        """Whether a new classifier is first fitted to the encoder as it is."""
        return self._is_few and self.classifier["architecture"] in CLASSIFIERS

    @property
    def checkpoint_every(self) -> int:
        """Steps from one checkpoint to the next, 0 for none."""
        asked = self.settings.checkpoint_every
        return self.T["eval_frequency"] if asked is None else asked

    @property
    def classifier(self) -> dict[str, Any]:
        """Factory and settings of the text classifier."""
        return dict(self.config["components"][TEXTCAT])

    @property
    def segmentation(self) -> dict[str, Any]:
        """How texts are to be divided into segments, where the config says it."""
        settings = self.config["components"].get(WORDPIECER, {})
        return {name: settings[name] for name in ("segments", "long_sentences") if name in settings}

    def _ask(self, exclusive: bool) -> None:
        """Put what the user asks for in the place of the file's."""
        settings, optimizer = self.settings, self._raw["training"]["optimizer"]
        trf_lr = settings.learn_rate
        if trf_lr is None and settings.lora is not None and settings.config is None:
            trf_lr = _LORA_RATE
        wanted: dict[tuple[str, ...], Any] = {
            ("training", "max_epochs"): settings.epochs,
            ("training", "batcher", "size"): settings.batch_size,
            ("components", TEXTCAT, "architecture"): settings.architecture,
            ("components", TEXTCAT, "pooling"): settings.pooling,
            ("components", TEXTCAT, "focal_gamma"): settings.focal_gamma,
            ("components", TEXTCAT, "exclusive_classes"): exclusive,
            ("components", WORDPIECER, "segments"): settings.segments,
            ("training", "accumulate_gradient"): settings.accumulate,
            ("training", "optimizer", "trf_layer_decay"): settings.layer_decay,
            ("training", "optimizer", "use_averages"): settings.averages or None,
            ("system", "seed"): settings.seed,
        }
        if isinstance(optimizer["trf_lr"], Mapping):
            wanted["training", "optimizer", "trf_lr", "initial_rate"] = trf_lr
        else:
            wanted["training", "optimizer", "trf_lr"] = trf_lr
        for (*sections, key), value in wanted.items():
            if value is not None:
                section = self._raw
                for name in sections:
                    section = section[name]
                section[key] = value

    def _set_steps(self, n_texts: int) -> None:
        training, settings = self._raw["training"], self.settings
        if settings.config is None:
            self._fit_to_size(n_texts)
        training["batcher"]["size"] *= self.n_processes
        batches = math.ceil(n_texts / training["batcher"]["size"])
        steps_an_epoch = math.ceil(batches / training.get("accumulate_gradient", 1))
        steps = steps_an_epoch * training["max_epochs"]
        if settings.config is None and settings.learn_rate is None and settings.lora is None:
            self._fit_rate(steps)
        training["max_steps"] = steps
        training["eval_frequency"] = (
            settings.eval_every or steps_an_epoch * self._epochs_an_evaluation
        )
        if settings.patience is not None:
            training["patience"] = settings.patience * training["eval_frequency"]
        self._raw.setdefault("schedule", {})["warmup_steps"] = math.ceil(_WARMUP_SHARE * steps)
        # Last, or spaCy's defaults would stand in for what the file lacks.
        defaults = Language.default_config["training"]
        self._raw["training"] = Config(defaults).merge(training)

    def _fit_to_size(self, n_texts: int) -> None:
        """Replace the shipped config's batches and epochs where they suit thousands of texts only.

        Sets `size_rule`, which says so.
        """
        training, settings = self._raw["training"], self.settings
        batcher, epochs = training["batcher"], training["max_epochs"]
        self._is_few = n_texts < _FEW_TEXTS
        if self._is_few and settings.batch_size is None:
            batcher["size"] = _SMALL_BATCH
        if settings.epochs is not None:
            return
        enough = math.ceil(_LEAST_STEPS / math.ceil(n_texts / batcher["size"] / self.n_processes))
        if enough > epochs:
            training["max_epochs"] = enough
            self._epochs_an_evaluation = math.ceil(enough / _EVALUATIONS)
            self.size_rule = (
                f"Few texts: {enough} epochs of them, to take at least {_LEAST_STEPS} steps"
            )
        elif n_texts > _MANY_TEXTS:
            training["max_epochs"] = _EPOCHS_OF_MANY
            self.size_rule = f"Many texts: {_EPOCHS_OF_MANY} epochs of them are enough"

    def _fit_rate(self, steps: int) -> None:
        """Lower the shipped config's rate of the encoder where there are many steps.

        Sets `rate_rule`, which says so.
        """
        if steps > _FULL_RATE_STEPS:
            schedule = self._raw["training"]["optimizer"]["trf_lr"]
            full = schedule["initial_rate"]
            schedule["initial_rate"] = max(full * _FULL_RATE_STEPS / steps, _LEAST_RATE)
            self.rate_rule = f"{full:.0e} for up to {_FULL_RATE_STEPS} steps"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what is wrong with a config file into one line of ours."""
    try:
        yield
    except KeyError as error:
        raise DataError(
            f"{path}: lacks {error}",
            hint="Start from a config that is there: configs/textcat.cfg",
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: {_what_is_wrong(error)}") from error


def _what_is_wrong(error: ValueError) -> str:
    """The gist of what spaCy says about a config, in one line."""
    for each in getattr(error, "errors", None) or ():
        return f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Validation errors begin with a headline of their own.
    return (
        " ".join(lines[1:4])
        if len(lines) > 1 and isinstance(error, ConfigValidationError)
        else lines[0]
    )


def _peak(rate: float | Mapping[str, Any]) -> float:
    return rate["initial_rate"] if isinstance(rate, Mapping) else rate
