"""Overrides of single config settings, such as `--training.dropout 0.1`."""

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import spacy
from spacy.language import DEFAULT_CONFIG, Language
from spacy.util import registry
from thinc.api import Config

from trfcli_pipeline.data.package_data import shipped_path
from trfcli_pipeline.errors import ArgumentError
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
    "components.trf_tok2vec.device",
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
# Lowest and highest value of settings whose types allow more.
_RANGES = {
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
        known = set(setting_keys(defaults.merge(config)))
        if key not in known:
            raise ArgumentError(
                f"--{key}: the config has no such setting", hint=did_you_mean(key, known)
            )
        _check_value(key, value)
        *sections, name = key.split(".")
        section: dict[str, Any] = config
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = value


def setting_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """Dotted keys of all settings that a training config can have.

    These are the config's own settings, those of spaCy's `[training]`, and all arguments of the
    functions and component factories that the config names. A section that names a function is a
    setting, too: a number can replace a schedule.
    """
    yield from (f"training.{name}" for name in DEFAULT_CONFIG["training"])
    names = Language.get_factory_meta(TEXTCAT).default_score_weights or {}
    scores = [name for name in names if not name.endswith(("_per_type", "_desc"))]
    yield from (f"training.score_weights.{name}" for name in (*scores, *_OWN_SCORES))
    yield from _keys_in(config)


def suggest_setting(name: str) -> str | None:
    """Suggest a setting for an option that doesn't exist."""
    config = Config().from_disk(shipped_path("configs/textcat.cfg"), interpolate=False)
    return did_you_mean(name, set(setting_keys(config)))


def did_you_mean(key: str, known: set[str]) -> str | None:
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
    call = {"@factories": factory, "nlp": spacy.blank("xx"), "name": factory}
    registry.fill({factory: {**call, **defaults, **arguments}})


def _check_value(key: str, value: Any) -> None:
    if key in _COUNTS:
        if not isinstance(value, int) or isinstance(value, bool) or value < _COUNTS[key]:
            raise ArgumentError(f"--{key} {value}: must be a whole number, at least {_COUNTS[key]}")
    elif key in _RANGES and isinstance(value, int | float):
        least, largest = _RANGES[key]
        if not least <= value <= largest:
            limits = "at least 0" if largest == math.inf else f"from {least} to {largest}"
            raise ArgumentError(f"--{key} {value}: must be {limits}")


def _names_function(key: str) -> bool:
    name = key.rpartition(".")[2]
    return name.startswith("@") or name == "factory"


def _keys_in(section: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in section.items():
        key = f"{path}{name}"
        if isinstance(value, Mapping):
            if not value or any(each.startswith("@") for each in value):
                yield key
            yield from _keys_in(value, f"{key}.")
        else:
            yield key
            yield from (f"{path}{each}" for each in _arguments_of(name, value))


def _arguments_of(name: str, function: str) -> Iterable[str]:
    """Arguments of the registered function or component factory that a setting names."""
    if name.startswith("@") and registry.has(name[1:], function):
        return inspect.signature(registry.get(name[1:], function)).parameters
    if name == "factory" and Language.has_factory(function):
        return Language.get_factory_meta(function).default_config or ()
    return ()
