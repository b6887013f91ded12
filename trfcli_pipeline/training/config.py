"""The config of a training run: from a file, the user's arguments, and the number of texts."""

import configparser
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_args

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.util import registry
from thinc.api import Config, Optimizer

from trfcli_pipeline.data.files import require_file
from trfcli_pipeline.data.formats.rows import shortened
from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.errors import ArgumentError, DataError, one_line
from trfcli_pipeline.heads.architectures import CLASSIFIERS
from trfcli_pipeline.pipeline.config_errors import find_problem, locate_problem
from trfcli_pipeline.tokenization.segments import Segments
from trfcli_pipeline.training.arguments import CONFIG_KEYS, TRF_LR, TrainingArguments
from trfcli_pipeline.training.overrides import (
    TEXTCAT,
    apply_overrides,
    check_component,
    is_unused,
    out_of_range,
    wrong_value,
)
from trfcli_pipeline.training.size_rules import (
    SMALL_TRAINING_SET,
    fit_to_size,
    format_rate,
    lower_rate,
)

WORDPIECER, TOK2VEC = "trf_wordpiecer", "trf_tok2vec"
_WARMUP_SHARE = 0.1
# LoRA adapters take about ten times the rate of the encoder's own weights.
_LORA_RATE = 1e-3


def config_path(name: str) -> Path:
    """Path of a config file that the package ships."""
    return shipped_path(f"configs/{name}")


class TrainingConfig:
    """A config file with the user's arguments; after `fit` also with what the data asks for.

    Args:
        exclusive: Whether exactly one label applies to each text.
        n_processes: Number of processes that train together, each with batches of the size that
            the config gives.

    Attributes:
        raw: The config with its variables.
        config: The config, with all variables filled in.
        training: The `[training]` section with its functions called. Set by `fit`.
        trf_lr: Peak learning rate of the encoder; None if it is frozen. Set by `fit`.
        learn_rate: Peak learning rate of the classifier. Set by `fit`.
        epochs_per_evaluation: Epochs between evaluations, if no number of steps is chosen. Set by
            `fit`.
        decisions: Which settings the number of texts or steps changed and why, as sentences.

    Raises:
        DataError: The config file can't be used.
        ArgumentError: An override can't be used.
    """

    training: Mapping[str, Any]
    trf_lr: float | None
    learn_rate: float

    def __init__(
        self, arguments: TrainingArguments, *, exclusive: bool, n_processes: int = 1
    ) -> None:
        shipped = config_path("textcat.cfg" if exclusive else "textcat_multilabel.cfg")
        self.path = arguments.config or shipped
        self.arguments = arguments
        self.exclusive = exclusive
        self.n_processes = n_processes
        self.epochs_per_evaluation = 1
        self.decisions: list[str] = []
        probe = arguments.linear_probe
        self._starts_as_probe = arguments.freeze_encoder if probe is None else probe
        # Whether the user chose the encoder's learning rate.
        self._has_own_rate = arguments.config is not None or arguments.chooses("learn_rate")
        self.raw = read_config(self.path)
        with self._explain_errors():
            self._apply_arguments()
            defaults = Config().from_disk(shipped, interpolate=False)
            apply_overrides(self.raw, arguments.overrides, defaults)
            self.config = self.raw.interpolate()
            problem = out_of_range(self.config)
            if problem is not None and arguments.config is None:
                raise ArgumentError(problem, hint="Correct the option")
            if problem is not None:
                raise DataError(f"{self.path}: {problem}", hint="Correct the value")
            self.seed: int = self.config["system"]["seed"]
            components = defaults.merge(self.raw).interpolate()["components"]
            for name in (WORDPIECER, TOK2VEC, TEXTCAT):
                if arguments.config or any(f".{name}." in key for key in arguments.overrides):
                    check_component(components[name])

    def fit(self, n_texts: int) -> None:
        """Compute the number of steps from the number of training texts, and what depends on it.

        Raises:
            DataError: The config file can't be used.
            ArgumentError: An override can't be used.
        """
        with self._explain_errors():
            self._set_steps(n_texts)
            self.config = self.raw.interpolate()
            self.training = registry.resolve(self.config["training"], schema=ConfigSchemaTraining)
            optimizer = self.config["training"]["optimizer"]
            self.learn_rate, trf_lr = _peak(optimizer["learn_rate"]), _peak(optimizer["trf_lr"])
            self.trf_lr = None if self.arguments.freeze_encoder else trf_lr

    @property
    def data_seed(self) -> int:
        """Seed by which texts are held out and drawn."""
        given = self.arguments.data_seed
        return self.seed if given is None else given

    @property
    def optimizer(self) -> Optimizer:
        return self.training["optimizer"]

    @property
    def score_weights(self) -> dict[str, float]:
        """The metrics whose weighted sum decides which weights are kept."""
        weights = self.training["score_weights"]
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def metric(self) -> str:
        """The keys of these metrics, joined by " + ": usually one, such as "cats_macro_f"."""
        return " + ".join(self.score_weights)

    @property
    def layer_decay(self) -> float:
        """Learning-rate factor from each of the encoder's layers to the one below."""
        return getattr(self.optimizer, "trf_layer_decay", 1.0)

    @property
    def averages(self) -> bool:
        """Whether averages of the weights are evaluated and saved."""
        return self.optimizer.averages is not None

    @property
    def batch_size(self) -> int:
        """Texts per batch, of all processes together."""
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
    def can_start_as_probe(self) -> bool:
        """Whether the architecture has an output layer that a linear probe fits."""
        return self.classifier["architecture"] in CLASSIFIERS

    @property
    def starts_as_probe(self) -> bool:
        """Whether a new classifier starts as a linear probe of the untrained encoder."""
        return self._starts_as_probe and self.can_start_as_probe

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints; 0 for none."""
        every = self.arguments.checkpoint_every
        return self.training["eval_frequency"] if every is None else every

    @property
    def classifier(self) -> dict[str, Any]:
        """Factory and settings of the text classifier."""
        return dict(self.config["components"][TEXTCAT])

    @property
    def chosen_for_classifier(self) -> set[str]:
        """Names of the classifier's settings that are the user's choice, not our defaults."""
        arguments = self.arguments
        return {
            name
            for name in self.classifier
            if arguments.config is not None
            or arguments.overrides_key(f"components.{TEXTCAT}.{name}")
            or (name == "architecture" and arguments.architecture is not None)
        }

    @property
    def segmentation(self) -> dict[str, Any]:
        """How to divide texts into segments, if the config says so."""
        settings = self.config["components"].get(WORDPIECER, {})
        return {name: settings[name] for name in ("segments", "long_sentences") if name in settings}

    @property
    def pipeline_overrides(self) -> dict[str, Any]:
        """The user's settings for components that the pipeline already has, by dotted keys."""
        given = {
            f"components.{component}.{name}": value
            for component in (WORDPIECER, TOK2VEC)
            for name, value in self.config["components"].get(component, {}).items()
        }
        # The defaults in our own files don't change a pipeline.
        has_own_file = self.arguments.config is not None
        return {
            key: value
            for key, value in given.items()
            if (has_own_file or key in self.arguments.overrides) and not is_unused(key)
        }

    def _apply_arguments(self) -> None:
        """Put the user's arguments in place of the file's values."""
        arguments = self.arguments
        _check_choice("--segments", arguments.segments, get_args(Segments))
        architecture = arguments.architecture
        if architecture is not None and architecture not in registry.architectures:
            _check_choice("--architecture", architecture, CLASSIFIERS)
        trf_lr = arguments.learn_rate
        if arguments.lora is not None and not self._has_own_rate:
            trf_lr = _LORA_RATE
            self.decisions.append(
                f"Encoder learning rate {format_rate(trf_lr)}, as LoRA needs a higher one "
                "(--learn-rate)"
            )
        is_schedule = isinstance(self.raw["training"]["optimizer"]["trf_lr"], Mapping)
        values = {
            CONFIG_KEYS[name]: getattr(arguments, name)
            for name in ("epochs", "batch_size", "architecture", "segments", "seed")
        }
        values[CONFIG_KEYS["exclusive"]] = self.exclusive
        values[TRF_LR if is_schedule else TRF_LR.rpartition(".")[0]] = trf_lr
        for key, value in values.items():
            *sections, name = key.split(".")
            if value is not None:
                reduce(getitem, sections, self.raw)[name] = value

    def _set_steps(self, n_texts: int) -> None:
        training, arguments = self.raw["training"], self.arguments
        if arguments.config is None:
            self._starts_as_probe |= n_texts < SMALL_TRAINING_SET
            self.epochs_per_evaluation, decisions = fit_to_size(
                training, n_texts, arguments, self.n_processes
            )
            self.decisions += decisions
        training["batcher"]["size"] *= self.n_processes
        batches = math.ceil(n_texts / training["batcher"]["size"])
        steps_per_epoch = math.ceil(batches / training.get("accumulate_gradient", 1))
        steps = steps_per_epoch * training["max_epochs"]
        if not arguments.fixes("training.max_steps"):
            training["max_steps"] = steps
        if not self._has_own_rate and arguments.lora is None:
            decisions = lower_rate(training, training["max_steps"])
            self.decisions += [] if arguments.freeze_encoder else decisions
        if "training.eval_frequency" not in arguments.overrides:
            training["eval_frequency"] = (
                arguments.eval_every or steps_per_epoch * self.epochs_per_evaluation
            )
        if arguments.patience is not None:
            training["patience"] = arguments.patience * training["eval_frequency"]
        if not arguments.fixes("schedule.warmup_steps"):
            warmup_steps = math.ceil(_WARMUP_SHARE * training["max_steps"])
            self.raw.setdefault("schedule", {})["warmup_steps"] = warmup_steps
        # Added last, because spaCy's defaults would hide what the file lacks.
        defaults = Language.default_config["training"]
        self.raw["training"] = Config(defaults).merge(training)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Turn spaCy's errors about a config into a one-line error of ours."""
        try:
            yield
        except KeyError as error:
            raise DataError(
                f"{self.path}: lacks {error}",
                hint=f"Start from a config that works: {config_path('textcat.cfg')}",
            ) from error
        except (ValueError, configparser.Error) as error:
            place, problem = find_problem(error)
            headline = str(error).strip().partition("\n")[0]
            for key, value in self.arguments.overrides.items():
                name = key.rpartition(".")[2]
                if name in place.split(".") or f"'{name.removeprefix('@')}'" in headline:
                    raise wrong_value(key, value, problem) from error
            hint = "Correct the file" if self.arguments.config else None
            raise DataError(locate_problem(self.path, error), hint=hint) from error
        except (TypeError, AttributeError, ArithmeticError) as error:
            # Values of the file are used before spaCy checks them.
            raise DataError(f"{self.path}: {one_line(error)}", hint="Correct the file") from error


def read_config(path: Path) -> Config:
    """Read a config file without filling in its variables.

    Raises:
        DataError: There is no such file, or it isn't a config.
    """
    require_file(path, DataError, hint="Leave out --config to use the default")
    try:
        return Config().from_disk(path, interpolate=False)
    except (ValueError, configparser.Error) as error:
        raise DataError(
            locate_problem(path, error),
            hint=f"Start from a config that works: {config_path('textcat.cfg')}",
        ) from error


def _check_choice(option: str, value: str | None, choices: Iterable[str]) -> None:
    if value is not None and value not in choices:
        raise ArgumentError(
            f"{option} {shortened(value)}: unknown value",
            hint=f"Use one of: {', '.join(choices)}",
        )


def _peak(rate: float | Mapping[str, Any]) -> float:
    return rate["initial_rate"] if isinstance(rate, Mapping) else rate
