"""The config of a training run: from a file, the user's arguments, and the number of texts."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.util import registry
from thinc.api import Config, ConfigValidationError, Optimizer

from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.errors import DataError, SettingsError
from trfcli_pipeline.heads.architectures import CLASSIFIERS
from trfcli_pipeline.training.arguments import CONFIG_KEYS, TRF_LR, TrainingArguments
from trfcli_pipeline.training.overrides import TEXTCAT, apply_overrides, check_component

WORDPIECER = "trf_wordpiecer"
_WARMUP_SHARE = 0.1
# With fewer texts than these, batches are smaller: there are few steps, and each is cheap. And a
# new classifier starts as a linear probe.
_FEW_TEXTS, _SMALL_BATCH = 500, 16
# Fewer steps than these hardly change the encoder.
_LEAST_STEPS = 200
# More evaluations than these aren't worth their time when epochs are short.
_EVALUATIONS = 10
_MANY_TEXTS, _EPOCHS_OF_MANY = 50_000, 2
# Over more steps than these, a lower rate gets the encoder as far and overfits less: we divide the
# rate by the number of steps, down to the lowest rate in common use.
_FULL_RATE_STEPS, _LEAST_RATE = 300, 2e-5
# LoRA adapters take about ten times the rate of the encoder's own weights.
_LORA_RATE = 1e-3
_TYPES = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}


def config_path(name: str) -> Path:
    """Path of a config file that the package ships."""
    return shipped_path(f"configs/{name}")


def format_rate(rate: float) -> str:
    """0.0001 -> 1e-4"""
    mantissa, _, exponent = f"{rate:.1e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if rate else "0"


class TrainingConfig:
    """A config file with the user's arguments; after `fit` also with what the data asks for.

    Args:
        exclusive: Whether exactly one label applies to each text.
        n_processes: Number of processes that train together, each with batches of the size that
            the config gives.

    Attributes:
        config: The config, with all variables filled in.
        training: The `[training]` section with its functions called. Set by `fit`.
        decisions: What the numbers of texts and steps changed and why, in sentences.

    Raises:
        DataError: The config file can't be used.
        SettingsError: An override can't be used.
    """

    training: Mapping[str, Any]

    def __init__(
        self, arguments: TrainingArguments, *, exclusive: bool, n_processes: int = 1
    ) -> None:
        shipped = config_path("textcat.cfg" if exclusive else "textcat_multilabel.cfg")
        self.path = arguments.config or shipped
        self.arguments = arguments
        self.exclusive = exclusive
        self.n_processes = n_processes
        self.decisions: list[str] = []
        self._is_few = False
        self._epochs_per_evaluation = 1
        if not self.path.is_file():
            raise DataError(f"{self.path}: there is no such config file")
        with self._explain_errors():
            self._raw = Config().from_disk(self.path, interpolate=False)
            self._apply_arguments()
            defaults = Config().from_disk(shipped, interpolate=False)
            apply_overrides(self._raw, arguments.overrides, defaults)
            self.config = self._raw.interpolate()
            self.seed: int = self.config["system"]["seed"]
            components = defaults.merge(self._raw).interpolate()["components"]
            for name in {key.split(".")[1] for key in self._component_overrides()}:
                check_component(components[name])

    def fit(self, n_texts: int) -> None:
        """Work out the number of steps for so many training texts, and all that depends on it.

        Raises:
            DataError: The config file can't be used.
            SettingsError: An override can't be used.
        """
        with self._explain_errors():
            self._set_steps(n_texts)
            self.config = self._raw.interpolate()
            self.training = registry.resolve(self.config["training"], schema=ConfigSchemaTraining)

    @property
    def optimizer(self) -> Optimizer:
        return self.training["optimizer"]

    @property
    def trf_lr(self) -> float | None:
        """Peak learning rate of the encoder; None if it isn't trained."""
        if self.arguments.freeze_encoder:
            return None
        return _peak(self.config["training"]["optimizer"]["trf_lr"])

    @property
    def layer_decay(self) -> float:
        """Learning-rate factor from each of the encoder's layers to the one below."""
        return getattr(self.optimizer, "trf_layer_decay", 1.0)

    @property
    def averages(self) -> bool:
        """Whether averages of the weights are evaluated and saved."""
        return self.optimizer.averages is not None

    @property
    def learn_rate(self) -> float:
        """Peak learning rate of the classifier."""
        return _peak(self.config["training"]["optimizer"]["learn_rate"])

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
    def starts_as_probe(self) -> bool:
        """Whether a new classifier starts as a linear probe of the untrained encoder."""
        return self._is_few and self.classifier["architecture"] in CLASSIFIERS

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
    def segmentation(self) -> dict[str, Any]:
        """How to divide texts into segments, as far as the config says."""
        settings = self.config["components"].get(WORDPIECER, {})
        return {name: settings[name] for name in ("segments", "long_sentences") if name in settings}

    @property
    def pipeline_overrides(self) -> dict[str, Any]:
        """The overrides for components that the pipeline already has."""
        return {
            key: value
            for key, value in self._component_overrides().items()
            if not key.startswith(f"components.{TEXTCAT}.")
        }

    def _component_overrides(self) -> dict[str, Any]:
        overrides = self.arguments.overrides.items()
        return {key: value for key, value in overrides if key.startswith("components.")}

    def _apply_arguments(self) -> None:
        """Put the user's arguments in place of the file's values."""
        arguments, optimizer = self.arguments, self._raw["training"]["optimizer"]
        self._set("training.max_epochs", arguments.epochs)
        self._set("training.batcher.size", arguments.batch_size)
        self._set("components.trf_textcat.architecture", arguments.architecture)
        self._set("components.trf_textcat.exclusive_classes", self.exclusive)
        self._set("components.trf_wordpiecer.segments", arguments.segments)
        self._set("system.seed", arguments.seed)
        trf_lr = arguments.learn_rate
        if trf_lr is None and arguments.lora is not None and not self._has_own_rate():
            trf_lr = _LORA_RATE
            self.decisions.append(
                f"Encoder learning rate {format_rate(trf_lr)}, as LoRA needs a higher one "
                "(--learn-rate)"
            )
        is_schedule = isinstance(optimizer["trf_lr"], Mapping)
        self._set(TRF_LR if is_schedule else TRF_LR.rpartition(".")[0], trf_lr)

    def _has_own_rate(self) -> bool:
        """Whether the encoder's learning rate comes from the user."""
        arguments = self.arguments
        return (
            arguments.config is not None
            or arguments.learn_rate is not None
            or arguments.overrides_key(TRF_LR)
        )

    def _set(self, key: str, value: Any) -> None:
        """Set a setting in a section that has to be there, unless the value is None."""
        *sections, name = key.split(".")
        section = self._raw
        for each in sections if value is not None else ():
            section = section[each]
        if value is not None:
            section[name] = value

    def _is_given(self, name: str) -> bool:
        """Whether the user gave an argument, or an override in its place."""
        return getattr(self.arguments, name) is not None or self.arguments.overrides_key(
            CONFIG_KEYS[name]
        )

    def _set_steps(self, n_texts: int) -> None:
        training, arguments = self._raw["training"], self.arguments
        if arguments.config is None:
            self._fit_to_size(n_texts)
        training["batcher"]["size"] *= self.n_processes
        batches = math.ceil(n_texts / training["batcher"]["size"])
        steps_per_epoch = math.ceil(batches / training.get("accumulate_gradient", 1))
        steps = steps_per_epoch * training["max_epochs"]
        if "training.max_steps" not in arguments.overrides:
            training["max_steps"] = steps
        if not self._has_own_rate() and arguments.lora is None:
            self._lower_rate(training["max_steps"])
        if "training.eval_frequency" not in arguments.overrides:
            training["eval_frequency"] = (
                arguments.eval_every or steps_per_epoch * self._epochs_per_evaluation
            )
        if arguments.patience is not None:
            training["patience"] = arguments.patience * training["eval_frequency"]
        if "schedule.warmup_steps" not in arguments.overrides:
            warmup_steps = math.ceil(_WARMUP_SHARE * training["max_steps"])
            self._raw.setdefault("schedule", {})["warmup_steps"] = warmup_steps
        # Last, or spaCy's defaults would stand in for what the file lacks.
        defaults = Language.default_config["training"]
        self._raw["training"] = Config(defaults).merge(training)

    def _fit_to_size(self, n_texts: int) -> None:
        """Replace the batch size and epochs of the shipped config, made for thousands of texts."""
        training = self._raw["training"]
        batcher, epochs = training["batcher"], training["max_epochs"]
        self._is_few = n_texts < _FEW_TEXTS
        changes = []
        if self._is_few and not self._is_given("batch_size"):
            batcher["size"] = _SMALL_BATCH
            changes.append(f"batch size {_SMALL_BATCH} (--batch-size)")
        if not self._is_given("epochs"):
            batches = math.ceil(n_texts / batcher["size"] / self.n_processes)
            enough = math.ceil(_LEAST_STEPS / batches)
            if enough > epochs:
                training["max_epochs"] = enough
                self._epochs_per_evaluation = math.ceil(enough / _EVALUATIONS)
                changes.append(f"{enough} epochs to reach at least {_LEAST_STEPS} steps (--epochs)")
            elif n_texts > _MANY_TEXTS:
                training["max_epochs"] = _EPOCHS_OF_MANY
                self.decisions.append(
                    f"More than {_MANY_TEXTS:,} texts: {_EPOCHS_OF_MANY} epochs (--epochs)"
                )
        if changes:
            few = f"Fewer than {_FEW_TEXTS} texts" if self._is_few else "Few texts"
            self.decisions.append(f"{few}: {' and '.join(changes)}")

    def _lower_rate(self, steps: int) -> None:
        """Lower the encoder's learning rate in the shipped config if there are many steps."""
        if steps > _FULL_RATE_STEPS:
            schedule = self._raw["training"]["optimizer"]["trf_lr"]
            full = schedule["initial_rate"]
            schedule["initial_rate"] = max(full * _FULL_RATE_STEPS / steps, _LEAST_RATE)
            self.decisions.append(
                f"More than {_FULL_RATE_STEPS} steps: encoder learning rate lowered from "
                f"{format_rate(full)} to {format_rate(schedule['initial_rate'])} (--learn-rate)"
            )

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
        except ValueError as error:
            place, problem = _first_problem(error)
            overrides = self.arguments.overrides.items()
            for key, value in overrides:
                is_named = f"'{key.rpartition('.')[2]}'" in problem
                if is_named or (place and f".{key}".endswith(f".{place}")):
                    raise SettingsError(f"--{key} {value}: {problem}") from error
            prefix = f"{place}: " if place else ""
            raise DataError(f"{self.path}: {prefix}{problem}") from error


def _first_problem(error: ValueError) -> tuple[str, str]:
    """The place of the first problem that spaCy names, if it names one, and the problem."""
    for each in getattr(error, "errors", None) or ():
        problem = str(each["msg"]).removeprefix("at root: ")
        for kind, words in _TYPES.items():
            problem = problem.replace(f"<class '{kind}'>", words)
        return ".".join(map(str, each["loc"])), problem
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Validation errors begin with a headline of their own.
    has_headline = len(lines) > 1 and isinstance(error, ConfigValidationError)
    return "", " ".join(lines[1:4]) if has_headline else lines[0]


def _peak(rate: float | Mapping[str, Any]) -> float:
    return rate["initial_rate"] if isinstance(rate, Mapping) else rate
