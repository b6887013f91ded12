"""The metadata of a model card, in the terms of the Hugging Face hub."""

from collections.abc import Iterable
from typing import Any, NamedTuple

# The hub's names of metrics, by the last part of spaCy's.
_METRIC_TYPES = {"p": "precision", "r": "recall", "f": "f1", "acc": "accuracy", "auc": "roc_auc"}


class Score(NamedTuple):
    """A score on the dev set: spaCy's key for it, its name and its value."""

    key: str
    name: str
    value: float


def card_metadata(
    name: str, lang: str, license: str, scores: Iterable[Score], dataset: str, **facts: Any
) -> str:
    """Return a model card's metadata as YAML.

    Args:
        name: Name of the model.
        lang: spaCy's code of the language.
        license: Name of the license, such as "CC BY 4.0".
        dataset: Name of the dev set.
        facts: Other arguments of `huggingface_hub.ModelCardData`. Empty ones are left out.

    Source:
        https://huggingface.co/docs/hub/model-cards#model-card-metadata
    """
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-classification"
            if score.key == "accuracy" or score.key.startswith("cats_")
            else "token-classification",
            # The hub wants a dataset's id here; a local file has none.
            dataset_type="unknown",
            dataset_name=dataset,
            dataset_split="validation",
            metric_type=_METRIC_TYPES.get(score.key.rpartition("_")[2], score.key),
            metric_name=score.name,
            metric_value=round(score.value, 4),
        )
        for score in scores
    ]
    facts["language"] = "multilingual" if lang == "xx" else lang
    facts["license"] = license.lower().replace(" ", "-")
    if results:
        facts.update(model_name=name, eval_results=results)
    return ModelCardData(**{key: value for key, value in facts.items() if value}).to_yaml()
