"""The config file that trains what some arguments would train."""

from collections.abc import Mapping
from typing import Any

from spacy.util import load_config

from trfcli_pipeline.data.dataset import DataSource
from trfcli_pipeline.pipeline.foreign_pipelines import explain
from trfcli_pipeline.pipeline.loading import check_pipeline
from trfcli_pipeline.pipeline.saved import locate_pipeline
from trfcli_pipeline.training.arguments import TrainingArguments
from trfcli_pipeline.training.config import WORDPIECER, TrainingConfig
from trfcli_pipeline.training.data import read_data
from trfcli_pipeline.training.overrides import TEXTCAT
from trfcli_pipeline.training.setup import classifier_settings
from trfcli_pipeline.training.stored_arguments import (
    SECTION,
    check_settings,
    complete_arguments,
    store_arguments,
)

# Settings that follow from the number of texts, unless the user gives them.
_COMPUTED = ("training.max_steps", "schedule.warmup_steps")
_WITHOUT_TEXTS = (
    "Without TRAIN, epochs, batch size and learning rate are those for thousands of texts"
)


def resolve_config(
    model: str, train: DataSource | None, dev: DataSource | None, arguments: TrainingArguments
) -> tuple[str, list[str]]:
    """Resolve the config of a training run, without training.

    With the result as `TrainingArguments.config`, the same texts train the same model.

    Args:
        model: Directory or name of the pipeline.
        train: File with labeled texts, from which the size rules follow; None to leave them out.
        dev: File with the labeled texts of the dev set, if there is one.

    Returns:
        The text of the config file, and which settings were changed and why, as sentences.

    Raises:
        ArgumentError: An argument or override can't be used.
        DataError: The texts or the config file can't be used.
        PipelineError: The pipeline can't be used.
    """
    check_pipeline(model)
    arguments = complete_arguments(arguments)
    exclusive, probe = arguments.is_exclusive(), arguments.linear_probe
    every = arguments.overrides.get("training.eval_frequency", arguments.eval_every)
    check_settings(arguments)
    if train is None:
        config = TrainingConfig(arguments, exclusive=exclusive is not False)
        config.decisions.append(_WITHOUT_TEXTS)
    else:
        _, config = read_data(train, dev, arguments)
        exclusive, probe = config.exclusive, config.starts_as_probe
        if config.epochs_per_evaluation > 1:
            every = config.config["training"]["eval_frequency"]
    with explain(model):
        pipeline = load_config(locate_pipeline(model) / "config.cfg", interpolate=True)
    raw = config.raw
    raw["nlp"], raw["components"] = _pipeline(config, pipeline)
    raw[SECTION] = store_arguments(
        arguments,
        exclusive=exclusive,
        eval_every=every,
        linear_probe=probe,
        fixed=[key for key in _COMPUTED if arguments.fixes(key)],
    )
    return raw.to_str(interpolate=False), config.decisions


def _pipeline(
    config: TrainingConfig, pipeline: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sections `[nlp]` and `[components]` of the trained pipeline's config.

    Args:
        pipeline: The config of the untrained pipeline.
    """
    nlp, components = dict(pipeline["nlp"]), dict(pipeline["components"])
    classifier = components.get(TEXTCAT, {})
    is_ours = classifier.get("factory") == TEXTCAT
    components[TEXTCAT] = classifier_settings(config, classifier if is_ours else {})
    if TEXTCAT not in nlp["pipeline"]:
        nlp["pipeline"] = [*nlp["pipeline"], TEXTCAT]
    segmentation = {
        f"components.{WORDPIECER}.{name}": value for name, value in config.segmentation.items()
    }
    for key, value in {**config.pipeline_overrides, **segmentation}.items():
        _, component, name = key.split(".", 2)
        components[component] = {**components.get(component, {}), name: value}
    return nlp, components
