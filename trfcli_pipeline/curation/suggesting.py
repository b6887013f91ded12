"""Choose the texts of a pool to label next, from their features and scores."""

from collections.abc import Sequence

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe
from trfcli_pipeline.curation.selection import select_typical, select_unsure
from trfcli_pipeline.curation.suggestions import Suggestion, are_unlike, count_represented
from trfcli_pipeline.curation.uncertainty import Scorer
from trfcli_pipeline.data.records import Record
from trfcli_pipeline.evaluation.classifier import Classifier
from trfcli_pipeline.evaluation.eval_prediction import DEFAULT_THRESHOLD, threshold_row
from trfcli_pipeline.progress import phase


def suggest_texts(
    records: Sequence[Record],
    features: ArrayStore,
    labeled: Features,
    n: int,
    *,
    scorer: Scorer | None = None,
    scores: ArrayStore | None = None,
    seed: int = 0,
) -> list[Suggestion]:
    """Choose texts to label next, and say why.

    Args:
        records: The texts of the pool.
        features: Their features.
        labeled: The features of texts that are labeled. *Shape:* (labeled texts, width)
        n: Number of texts to choose; all if there are fewer.
        scorer: How to read the scores; without one, typical texts are chosen.
        scores: The scores of the texts.
        seed: The same seed chooses the same texts.
    """
    n = min(n, len(records))
    doubts: list[list[tuple[str, float]]] = [[] for _ in range(n)]
    with phase("Choosing texts"):
        if scorer is None or scores is None:
            chosen = select_typical(features, labeled, n, seed=seed)
        else:
            margins = scorer.all_margins(scores)
            chosen = select_unsure(features, scores, margins, n, seed=seed)
            doubts = [scorer.doubts(row) for row in scores.take(chosen).astype(np.float64)]
    unlike = are_unlike(features.take(chosen), labeled)
    counts = count_represented(features, chosen, labeled)
    return [
        Suggestion(records[index], tuple(own), scorer is None or scorer.exclusive, is_unlike, count)
        for index, own, is_unlike, count in zip(
            chosen.tolist(), doubts, unlike.tolist(), counts, strict=True
        )
    ]


def probe_scores(
    pool: ArrayStore, labeled: Features, gold: Gold, *, penalty: float
) -> tuple[Scorer, ArrayStore]:
    """Score a pool by a linear probe that is fitted to labeled texts.

    Args:
        pool: The features of the pool.
        labeled: The features of the labeled texts. *Shape:* (labeled texts, width)
        gold: Their labels.
        penalty: See `fit_probe`.
    """
    probe = fit_probe(labeled, gold, penalty=penalty)
    scores = ArrayStore(len(gold.labels))
    for block in pool.blocks():
        scores.append(probe.predict(block))
    thresholds = np.full(len(gold.labels), DEFAULT_THRESHOLD)
    return Scorer(gold.labels, gold.exclusive, thresholds), scores


def classifier_scorer(classifier: Classifier) -> Scorer:
    """How to read the scores of a pipeline's text classifier."""
    thresholds = threshold_row(classifier.threshold, classifier.labels)
    return Scorer(classifier.labels, classifier.exclusive, thresholds)
