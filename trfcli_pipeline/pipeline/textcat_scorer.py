"""Scores `doc.cats`, with a threshold for each label where there are some."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry


def score_textcat(
    examples: Iterable[Example],
    *,
    multi_label: bool = True,
    threshold: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Score `doc.cats` as `spacy.scorer.Scorer.score_cats` does.

    Args:
        threshold: The score from which on a label counts as predicted, if labels aren't exclusive.
        thresholds: The same for single labels.
    """
    if multi_label and thresholds:
        threshold = 0.5 if threshold is None else threshold
        kwargs.setdefault("getter", partial(_stretched_cats, thresholds, threshold))
    return Scorer.score_cats(
        examples, "cats", multi_label=multi_label, threshold=threshold, **kwargs
    )


@registry.scorers("trfcli.textcat_scorer.v1")
def make_textcat_scorer() -> Callable[..., dict[str, Any]]:
    return score_textcat


def _stretched_cats(
    thresholds: Mapping[str, float], common: float, doc: Doc, attr: str
) -> dict[str, float]:
    """A Doc's cats, stretched so that each label's threshold comes to lie at that of all.

    The order of scores stays, and so do 0 and 1: areas under curves don't change, nor truths.
    """
    return {
        label: _stretch(score, thresholds.get(label, common), common)
        for label, score in getattr(doc, attr).items()
    }


def _stretch(score: float, own: float, common: float) -> float:
    if score < own:
        return score * common / own
    # So that rounding moves neither 1 nor the threshold itself.
    return max(common, 1 - (1 - score) * (1 - common) / (1 - own))
