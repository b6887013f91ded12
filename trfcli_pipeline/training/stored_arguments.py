"""The `[trf]` section of a config file: arguments for which spaCy's config has no place."""

from dataclasses import fields, replace
from typing import Any

from trfcli_pipeline.data.formats.rows import shortened
from trfcli_pipeline.encoder.precision import check_precision
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.training.arguments import CONFIG_KEYS, TrainingArguments
from trfcli_pipeline.training.config import TrainingConfig, read_config

SECTION = "trf"
# All that decide what is trained; device and checkpoints don't.
_STORED = (
    *("exclusive", "balance", "drop_labels", "dev_split", "max_texts", "data_seed"),
    *("patience", "eval_every", "coverage", "min_accuracy"),
    *("freeze_encoder", "freeze_layers", "lora", "precision", "linear_probe", "fixed"),
)
# Lowest values of numbers; shares have a highest one, too.
_LEAST = {
    "max_texts": 1,
    "data_seed": 0,
    "patience": 0,
    "eval_every": 1,
    "freeze_layers": 0,
    "lora": 1,
}
_SHARES = {"dev_split": (0.001, 0.9), "coverage": (0.01, 1.0), "min_accuracy": (0.01, 0.999)}


def store_arguments(arguments: TrainingArguments, **resolved: Any) -> dict[str, Any]:
    """Return the `[trf]` section for some arguments.

    Args:
        resolved: Values that take the place of those in the arguments.
    """
    return {name: getattr(arguments, name) for name in _STORED} | resolved


def complete_arguments(arguments: TrainingArguments) -> TrainingArguments:
    """Return arguments where those that their config file stores take the place of defaults.

    Raises:
        DataError: The file can't be read; an argument in it is unknown, or has a value that can't
            be used.
    """
    if arguments.config is None:
        return arguments
    known = {each.name: each for each in fields(arguments) if each.name in _STORED}
    completed = {}
    for name, value in read_config(arguments.config).get(SECTION, {}).items():
        place = f"{arguments.config}: {SECTION}.{name}"
        if name not in known:
            raise DataError(
                f"{place}: there is no such argument", hint=f"Available: {', '.join(_STORED)}"
            )
        problem = _problem(name, value, known[name].type)
        if problem is not None:
            raise DataError(
                f"{place} = {shortened(str(value))}: {problem}", hint="Correct the value"
            )
        is_overridden = name in CONFIG_KEYS and arguments.overrides_key(CONFIG_KEYS[name])
        if getattr(arguments, name) == known[name].default and not is_overridden:
            completed[name] = value
    return replace(arguments, **completed)


def check_settings(arguments: TrainingArguments) -> None:
    """Check the settings before anything that takes time.

    Raises:
        DataError: The config file can't be used.
        ArgumentError: An override can't be used.
    """
    TrainingConfig(arguments, exclusive=arguments.is_exclusive() is not False).fit(1)


def _problem(name: str, value: Any, kind: Any) -> str | None:
    """What is wrong with the value of an argument."""
    if name == "fixed":
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return None if is_list else "must be a list of settings"
    # A bool is an int to Python.
    is_odd = isinstance(value, bool) and kind not in (bool, bool | None)
    if is_odd or not isinstance(value, kind):
        return "has the wrong type"
    if name == "precision":
        check_precision(value)
    if value is not None and name in _LEAST and value < _LEAST[name]:
        return f"must be at least {_LEAST[name]}"
    if value is not None and name in _SHARES:
        least, largest = _SHARES[name]
        return None if least <= value <= largest else f"must be from {least} to {largest}"
    return None
