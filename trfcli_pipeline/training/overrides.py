"""Overrides of single config settings, such as `--training.dropout 0.1`."""

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import spacy
from spacy.language import DEFAULT_CONFIG, Language
from spacy.util import registry
from thinc.api import Config

from trfcli_pipeline.data.formats.rows import shortened
from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.errors import ArgumentError

# Importing the factories registers them.
from trfcli_pipeline.pipeline import factories  # noqa: F401
from trfcli_pipeline.training.arguments import LAYER_DECAY, TRF_LR

TEXTCAT = "trf_textcat"
# Sections and settings of spaCy's training loop that ours doesn't use.
_UNUSED = (
    *("paths", "corpora", "initialize", "pretraining", "nlp", "system.gpu_allocator"),
    *("training.train_corpus", "training.dev_corpus", "training.seed", "training.gpu_allocator"),
    *("training.frozen_components", "training.annotating_components", "training.logger"),
    *("training.before_to_disk", "training.before_update", "components.sentencizer"),
    *("components.trf_wordpiecer.trf_name", "components.trf_tok2vec.trf_name"),
    *("components.trf_wordpiecer.factory", "components.trf_tok2vec.factory"),
    *("components.trf_tok2vec.device", "trf"),
)
# Scores of an evaluation that spaCy's Scorer doesn't know.
_OWN_SCORES = ("accuracy", "ece")
# Settings that must be whole numbers, and the lowest value of each.
_COUNTS = {
    "training.accumulate_gradient": 1,
    "training.batcher.size": 1,
    "training.eval_frequency": 1,
    "training.max_epochs": 1,
    "training.max_steps": 1,
    "training.patience": 0,
}
_LARGEST_COUNT = 2**31 - 1
# Lowest and highest value of settings whose types allow more.
_RANGES = {
    "system.seed": (0, 2**32 - 1),
    "components.trf_textcat.focal_gamma": (0, math.inf),
    "components.trf_textcat.threshold": (0, 1),
    "training.dropout": (0, 1),
    "training.optimizer.learn_rate": (0, math.inf),
    "training.optimizer.learn_rate.initial_rate": (0, math.inf),
    "training.optimizer.trf_lr": (0, math.inf),
    TRF_LR: (0, math.inf),
    LAYER_DECAY: (0, 1),
}


def apply_overrides(config: Config, overrides: Mapping[str, Any], defaults: Config) -> None:
    """Put overrides into a config.

    Args:
        config: Changed in place.
        defaults: A config with further sections that may be overridden.

    Raises:
        ArgumentError: A setting is unknown, unused, or out of its range.
    """
    # Settings that name a function come first: they decide which other settings exist.
    for key in sorted(overrides, key=lambda key: not _names_function(key)):
        value = overrides[key]
        if is_unused(key):
            raise ArgumentError(
                f"--{key}: trf train doesn't use this setting",
                hint="Texts, pipeline, device and seed have arguments and options of their own",
            )
        known = dict(settings_of(defaults.merge(config)))
        if key not in known:
            raise ArgumentError(
                f"--{key}: the config has no such setting", hint=did_you_mean(key, known)
            )
        _check_value(key, value, known[key])
        *sections, name = key.split(".")
        section: dict[str, Any] = config
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = value


def settings_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and defaults of all settings that a training config can have.

    These are the config's own settings, those of spaCy's `[training]`, and all arguments of the
    functions and component factories that the config names. A section that names a function is a
    setting, too: a number can replace a schedule.
    """
    yield from ((f"training.{name}", value) for name, value in DEFAULT_CONFIG["training"].items())
    names = Language.get_factory_meta(TEXTCAT).default_score_weights or {}
    scores = [name for name in names if not name.endswith(("_per_type", "_desc"))]
    yield from ((f"training.score_weights.{name}", 0.0) for name in (*scores, *_OWN_SCORES))
    yield from _settings_in(config)


def suggest_setting(name: str) -> str | None:
    """Suggest a setting for an option that doesn't exist."""
    config = Config().from_disk(shipped_path("configs/textcat.cfg"), interpolate=False)
    return did_you_mean(name, dict(settings_of(config)))


def did_you_mean(key: str, known: Iterable[str]) -> str | None:
    """Suggest the known settings whose spelling is closest, as a whole or in their last part."""
    key = key.replace("-", "_")
    known = {each for each in known if not is_unused(each)}
    by_last_part: dict[str, list[str]] = {}
    for each in sorted(known):
        by_last_part.setdefault(each.rpartition(".")[2], []).append(each)
    last_parts = get_close_matches(key.rpartition(".")[2], by_last_part, n=1, cutoff=0.65)
    similar = [each for part in last_parts for each in by_last_part[part]]
    if "." in key:
        similar = get_close_matches(key, known, n=2, cutoff=0.8) or similar
    return f"Did you mean {' or '.join(f'--{each}' for each in similar[:3])}?" if similar else None


def is_unused(key: str) -> bool:
    """Whether our training ignores a setting."""
    return any(f"{key}.".startswith(f"{unused}.") for unused in _UNUSED)


def check_component(settings: Mapping[str, Any]) -> None:
    """Check the settings of a component against its factory, without making the component.

    Raises:
        ConfigValidationError: One is unknown or has the wrong type.
    """
    arguments = {key: value for key, value in settings.items() if key != "factory"}
    factory = settings["factory"]
    defaults = Language.get_factory_meta(factory).default_config or {}
    call = {"@factories": factory, "nlp": _blank(), "name": factory}
    registry.fill({factory: {**call, **defaults, **arguments}})


@cache
def _blank() -> Language:
    """A pipeline that factories accept as theirs."""
    return spacy.blank("xx")


def wrong_value(key: str, value: Any, problem: str) -> ArgumentError:
    """The error for an override whose value can't be used."""
    if value is True:
        return ArgumentError(f"--{key} true: {problem} (is a value missing?)")
    return ArgumentError(f"--{key} {shortened(str(value))}: {problem}")


def out_of_range(config: Mapping[str, Any]) -> str | None:
    """Describe the first setting that is out of its range.

    Args:
        config: The config, with all variables filled in.
    """
    for key in (*_COUNTS, *_RANGES):
        if key == "training.max_steps":
            continue  # spaCy's 0 means no limit, and ours are counted from the epochs
        *sections, name = key.split(".")
        part: Any = config
        for section in sections:
            part = part.get(section, {}) if isinstance(part, Mapping) else {}
        if isinstance(part, Mapping) and name in part:
            problem = _range_problem(key, part[name])
            if problem is not None:
                return f"{key} = {shortened(str(part[name]))}: {problem}"
    return None


def _check_value(key: str, value: Any, default: Any) -> None:
    problem = _range_problem(key, value) or _type_problem(value, default)
    if problem is not None:
        raise wrong_value(key, value, problem)


def _type_problem(value: Any, default: Any) -> str | None:
    """What is wrong with the type of an override."""
    if isinstance(default, Mapping) and default and not isinstance(value, Mapping):
        if not _is_number(value):
            return "must be a number" if "@schedules" in default else "must be a section"
    elif value is True and isinstance(default, str):
        return "must be text"
    elif value is True and _is_number(default):
        return "must be a number"
    return None


def _range_problem(key: str, value: Any) -> str | None:
    """What is wrong with the value of a setting that has a range."""
    if key in _COUNTS:
        if not isinstance(value, int) or isinstance(value, bool) or value < _COUNTS[key]:
            return f"must be a whole number, at least {_COUNTS[key]}"
        if value > _LARGEST_COUNT:
            return f"must be at most {_LARGEST_COUNT:,}"
    elif key in _RANGES and _is_number(value):
        least, largest = _RANGES[key]
        # NaN fails both comparisons.
        if not least <= value <= largest or value == math.inf:
            limits = "at least 0" if largest == math.inf else f"from {least} to {largest}"
            return f"must be {limits}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names_function(key: str) -> bool:
    name = key.rpartition(".")[2]
    return name.startswith("@") or name == "factory"


def _settings_in(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        key = f"{path}{name}"
        if isinstance(value, Mapping):
            if not value or any(each.startswith("@") for each in value):
                yield key, value
            yield from _settings_in(value, f"{key}.")
        else:
            arguments = _arguments_of(name, value)
            yield from ((f"{path}{each}", default) for each, default in arguments.items())
            yield key, value


def _arguments_of(name: str, function: str) -> Mapping[str, Any]:
    """Arguments of the registered function or component factory that a setting names.

    They are given with their defaults.
    """
    if name.startswith("@") and registry.has(name[1:], function):
        parameters = inspect.signature(registry.get(name[1:], function)).parameters
        return {each.name: each.default for each in parameters.values()}
    if name == "factory" and Language.has_factory(function):
        return Language.get_factory_meta(function).default_config or {}
    return {}
