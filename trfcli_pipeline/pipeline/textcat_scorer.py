"""Score `doc.cats`, with a decision threshold per label if they were tuned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry

from trfcli_pipeline.data.records import GOLD_THRESHOLD
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction
from trfcli_pipeline.evaluation.metrics import spacy_scores


def score_textcat(
    examples: Iterable[Example],
    *,
    labels: Sequence[str] = (),
    multi_label: bool = True,
    threshold: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Score `doc.cats` as `spacy.scorer.Scorer.score_cats` does.

    A label applies if its gold value is at least `GOLD_THRESHOLD`. spaCy's Scorer would count any
    value above 0, and its AUC is NaN unless one of the values is 1. With exclusive labels, a text
    isn't scored if it has values above 0, but no label that applies.

    Args:
        labels: The labels to score.
        threshold: Decision threshold for multi-label classifiers.
        thresholds: Decision thresholds of single labels; the others have `threshold`.
    """
    examples = [each for each in examples if multi_label or _can_be_exclusive(each.reference.cats)]
    gold = [_gold_cats(example.reference.cats) for example in examples]
    if not multi_label or not thresholds:
        by_reference = {
            id(example.reference): cats for example, cats in zip(examples, gold, strict=True)
        }

        def get_cats(doc: Doc, name: str) -> Mapping[str, float]:
            return by_reference.get(id(doc), doc.cats)

        return Scorer.score_cats(
            examples,
            "cats",
            getter=get_cats,
            labels=labels,
            multi_label=multi_label,
            threshold=threshold,
            **kwargs,
        )
    common = 0.5 if threshold is None else threshold
    shape = len(examples), len(labels)
    gold_values = [cats.get(label, np.nan) for cats in gold for label in labels]
    scores = [each.predicted.cats.get(label, 0.0) for each in examples for label in labels]
    prediction = EvalPrediction(
        labels=tuple(labels),
        exclusive=False,
        thresholds=np.array([thresholds.get(label, common) for label in labels]),
        indices=np.arange(len(examples)),
        gold=np.array(gold_values, dtype=np.float64).reshape(shape),
        scores=np.array(scores, dtype=np.float64).reshape(shape),
    )
    return spacy_scores(prediction)


def _gold_cats(cats: Mapping[str, float]) -> dict[str, float]:
    """Gold values as 1.0 or 0.0."""
    return {label: float(value >= GOLD_THRESHOLD) for label, value in cats.items()}


def _can_be_exclusive(cats: Mapping[str, float]) -> bool:
    """Whether one of the values says that its label applies, or none is above 0."""
    return max(cats.values(), default=0.0) >= GOLD_THRESHOLD or not any(cats.values())


@registry.scorers("trfcli.textcat_scorer.v1")
def make_textcat_scorer() -> Callable[..., dict[str, Any]]:
    return score_textcat
