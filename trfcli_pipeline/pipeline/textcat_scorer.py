"""Score `doc.cats`, with a decision threshold per label if they were tuned."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from spacy.scorer import Scorer
from spacy.training import Example
from spacy.util import registry

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

    Args:
        labels: The labels to score.
        threshold: Decision threshold for multi-label classifiers.
        thresholds: Decision thresholds of single labels; the others have `threshold`.
    """
    if not multi_label or not thresholds:
        return Scorer.score_cats(
            examples, "cats", labels=labels, multi_label=multi_label, threshold=threshold, **kwargs
        )
    common = 0.5 if threshold is None else threshold
    pairs = [(example.reference.cats, example.predicted.cats) for example in examples]
    shape = len(pairs), len(labels)
    gold = [cats.get(label, np.nan) for cats, _ in pairs for label in labels]
    scores = [cats.get(label, 0.0) for _, cats in pairs for label in labels]
    gold_array = np.array(gold, dtype=np.float64).reshape(shape)
    prediction = EvalPrediction(
        labels=tuple(labels),
        exclusive=False,
        thresholds=np.array([thresholds.get(label, common) for label in labels]),
        indices=np.arange(len(pairs)),
        gold=np.where(np.isnan(gold_array), np.nan, gold_array > 0.0),
        scores=np.array(scores, dtype=np.float64).reshape(shape),
    )
    return spacy_scores(prediction)


@registry.scorers("trfcli.textcat_scorer.v1")
def make_textcat_scorer() -> Callable[..., dict[str, Any]]:
    return score_textcat
