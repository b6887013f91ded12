"""How much the latest labels still change what a classifier predicts, to know when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import fit_probe
from trfcli_pipeline.evaluation.eval_prediction import DEFAULT_THRESHOLD, BoolArray, decide
from trfcli_pipeline.progress import track

# The number of texts that are predicted, the batches over which agreement is averaged, and where to
# stop (Bloodgood and Vijay-Shanker 2009, "A Method for Stopping Active Learning Based on
# Stabilizing Predictions and the Need for User-Adjustable Stopping").
STOP_SET = 2_000
BATCHES = 3
STABLE_KAPPA = 0.99
# A few labels rarely change much, however much there is to learn: on TREC-6, batches of 2 look
# stable after half as many texts as it takes until accuracy no longer rises.
SMALLEST_BATCH = 20


@dataclass(frozen=True, slots=True)
class Stability:
    """How much the latest labels changed the predictions for unlabeled texts.

    Attributes:
        batch: Number of labels in a batch.
        changed: Share of the texts for which the last batch changed the prediction.
        kappas: Cohen's kappa between the predictions before and after each of the last batches,
            the last one first. At most `BATCHES`.
    """

    batch: int
    changed: float
    kappas: Sequence[float]

    @property
    def mean_kappa(self) -> float:
        """The mean over the last batches."""
        return sum(self.kappas) / len(self.kappas)

    @property
    def is_stable(self) -> bool:
        """Whether more labels are unlikely to change the predictions."""
        return len(self.kappas) == BATCHES and self.mean_kappa >= STABLE_KAPPA


def measure_stability(
    features: Features,
    gold: Gold,
    pool: ArrayStore,
    batch: int,
    *,
    penalty: float,
    seed: int = 0,
) -> Stability | None:
    """Compare the predictions of linear probes that are fitted with and without the last labels.

    Args:
        features: Features of the labeled texts, in the order in which they were labeled.
            *Shape:* (texts, width)
        gold: Their labels.
        pool: Features of unlabeled texts, some of which are predicted.
        batch: Number of labels in a batch. Smaller ones than `SMALLEST_BATCH` are enlarged.
        penalty: See `fit_probe`.
        seed: The same seed predicts the same texts.

    Returns:
        None if there are too few labeled texts, or the first ones all have the same label.
    """
    batch = max(batch, SMALLEST_BATCH)
    sizes = [len(gold) - number * batch for number in range(BATCHES + 1)]
    usable = [size for size in sizes if size > 0 and has_two_labels(gold.take(np.arange(size)))]
    if len(usable) < 2:
        return None
    drawn = np.random.default_rng(seed).permutation(len(pool))[:STOP_SET]
    unlabeled = pool.take(np.sort(drawn))
    decisions = []
    for size in track(usable, "Comparing with fewer labels", total=len(usable), unit="probes"):
        probe = fit_probe(features[:size], gold.take(np.arange(size)), penalty=penalty)
        thresholds = np.full(len(gold.labels), DEFAULT_THRESHOLD)
        scores = probe.predict(unlabeled)
        decisions.append(decide(scores, thresholds, exclusive=gold.exclusive))
    pairs = list(pairwise(decisions))
    changed = float((pairs[0][0] != pairs[0][1]).any(axis=1).mean())
    return Stability(batch, changed, [cohen_kappa(*pair) for pair in pairs])


def has_two_labels(gold: Gold) -> bool:
    """Whether labels differ between texts, so that a classifier can be fitted."""
    known = np.nan_to_num(gold.values)
    return bool(gold.values.size and (known != known[0]).any())


def cohen_kappa(one: BoolArray, other: BoolArray) -> float:
    """Agreement of two classifiers, corrected for what would be due to chance.

    Cohen 1960, "A Coefficient of Agreement for Nominal Scales", equation 1. With exclusive labels,
    chance is computed from the share of each label. Other labels are decisions of their own, and
    kappa is that of all of them together.

    Args:
        one, other: Which labels apply to each text. *Shape:* (texts, labels)

    Returns:
        1 for full agreement, 0 for agreement by chance.
    """
    if (one.sum(axis=1) == 1).all() and (other.sum(axis=1) == 1).all():
        agreement = float((one & other).any(axis=1).mean())
        chance = float(one.mean(axis=0) @ other.mean(axis=0))
    else:
        agreement = float((one == other).mean())
        shares = one.mean(), other.mean()
        chance = float(shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1]))
    return 1.0 if chance == 1 else (agreement - chance) / (1 - chance)
