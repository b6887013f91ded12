"""Label errors: texts whose given labels are probably wrong, and what they probably should be."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.neighbors import Neighbors
from trfcli_pipeline.curation.transitions import estimate_transitions, posterior
from trfcli_pipeline.data.records import GOLD_THRESHOLD
from trfcli_pipeline.evaluation.bootstrap import INTERVAL_RESAMPLES, percentile_interval
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray
from trfcli_pipeline.evaluation.selective import Interval
from trfcli_pipeline.progress import phase

# Weights of the texts, None for 1 each -> cross-fitted scores. *Shapes:* (texts,), (texts, labels)
Predict = Callable[[FloatArray | None], FloatArray]

NEIGHBORS = 50
# From this probability on, a label is taken to be wrong.
DOUBTFUL = 0.5
# How much the labels of similar texts count beside the classifier's scores.
_NEIGHBORS_WEIGHT = 0.5
_TEMPERATURE = 0.1
# Share of a label among the neighbors of a text that never is lower.
_SMALLEST_SHARE = 0.02
_SMALLEST_SCORE = 1e-6
# Texts of a label that a classifier has to see before it can judge others.
_LEAST_SEEN = 2
# Texts to draw for the interval at a time.
_DRAWS = 2_000_000
_SEED = 0


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """How likely the given labels of texts are wrong.

    Attributes:
        doubts: Probability that the labels of a text are wrong. *Shape:* (texts,)
        applies: The labels that the texts were given. *Shape:* (texts, labels)
        suggested: The labels that they probably should have. *Shape:* (texts, labels)
        pairs: Expected number of texts whose label is one but should be another.
            *Shape:* (given labels, true labels)
        interval: A 95 % interval of the number of texts with wrong labels.
        judged: Labels that could be judged. *Shape:* (labels,)
    """

    doubts: FloatArray
    applies: BoolArray
    suggested: BoolArray
    pairs: FloatArray
    interval: Interval
    judged: BoolArray

    @property
    def number(self) -> float:
        """Expected number of texts with wrong labels."""
        return float(self.doubts.sum())

    @property
    def ranked(self) -> NDArray[np.int_]:
        """The texts whose labels are probably wrong, the most doubtful first. *Shape:* (some,)"""
        order = np.argsort(-self.doubts, kind="stable")
        return order[self.doubts[order] >= DOUBTFUL]


def find_label_errors(
    predict: Predict, gold: Gold, neighbors: Neighbors, folds: NDArray[np.int_], *, rounds: int = 2
) -> LabelErrors:
    """Find the texts whose labels are probably wrong.

    The probability of each true label is that of a classifier, which hasn't seen the text, times a
    power of its share among the labels of similar texts. Together with how often one label is
    given in place of another, Bayes' rule says how likely the given label is wrong. In a second
    round, texts count the less for classifier and neighbors the more doubtful they are.

    A text with several labels is judged label by label: is it this one, or one of those that it
    doesn't have? Its most doubtful label counts. A label may also be missing.

    A label is only judged if each classifier that predicts one of its texts has seen at least two
    others: from fewer it can't learn what the label means.

    Args:
        predict: Cross-fits a classifier on weighted texts; see `cross_fitting`.
        gold: The given labels.
        neighbors: The nearest neighbors of the texts.
        folds: The fold of each text, by which `predict` cross-fits. *Shape:* (texts,)
        rounds: How often to call `predict`.
    """
    applies = np.nan_to_num(gold.values) >= GOLD_THRESHOLD
    judged = np.array([_can_be_judged(folds[column]) for column in applies.T])
    weights = np.ones(len(gold))
    found = _Judgement.of(predict(None), gold, applies, judged, neighbors, weights)
    for _ in range(rounds - 1):
        weights = 1 - found.doubts
        scores = predict(weights)
        found = _Judgement.of(scores, gold, applies, judged, neighbors, weights)
    interval = _interval(found.doubts)
    return LabelErrors(found.doubts, applies, found.suggested, found.pairs, interval, judged)


def _can_be_judged(folds: NDArray[np.int_]) -> bool:
    """Whether enough texts of a label are outside each fold that has some of them.

    Args:
        folds: The folds of the texts that have the label. *Shape:* (some texts,)
    """
    _, sizes = np.unique(folds, return_counts=True)
    return bool((len(folds) - sizes >= _LEAST_SEEN).all())


@dataclass(frozen=True, eq=False)
class _Judgement:
    """What one round of `find_label_errors` says; see `LabelErrors`."""

    doubts: FloatArray
    suggested: BoolArray
    pairs: FloatArray

    @classmethod
    def of(
        cls,
        scores: FloatArray,
        gold: Gold,
        applies: BoolArray,
        judged: BoolArray,
        neighbors: Neighbors,
        weights: FloatArray,
    ) -> "_Judgement":
        scores = scores.clip(_SMALLEST_SCORE, 1 - _SMALLEST_SCORE)
        shares = neighbors.label_shares(applies, weights=weights, temperature=_TEMPERATURE)
        agreement = _NEIGHBORS_WEIGHT * np.log(shares + _SMALLEST_SHARE)
        odds = np.log(scores) if gold.exclusive else np.log(scores / (1 - scores))
        rows, given = np.nonzero(applies & judged)
        # Each given label of a text competes with those that the text doesn't have.
        logits = np.where(applies | np.isnan(gold.values), -np.inf, odds + agreement)[rows]
        places = np.arange(len(rows))
        logits[places, given] = (odds + agreement)[rows, given]
        alternatives = softmax(logits, axis=1)
        truths = posterior(alternatives, given, estimate_transitions(alternatives, given))
        doubts_of_labels = 1 - truths[places, given]
        pairs = np.zeros((len(gold.labels),) * 2)
        np.add.at(pairs, given, truths)
        doubts = np.zeros(len(gold))
        np.maximum.at(doubts, rows, doubts_of_labels)
        others = truths.copy()
        others[places, given] = 0
        likeliest = others.argmax(axis=1)
        is_wrong = doubts_of_labels >= DOUBTFUL
        suggested = applies.copy()
        suggested[rows[is_wrong], given[is_wrong]] = False
        suggested[rows[is_wrong], likeliest[is_wrong]] = True
        if not gold.exclusive:
            # Lower scores say more about the classifier than about the labels.
            is_likely = ~applies & ~np.isnan(gold.values) & (scores >= DOUBTFUL)
            missing = np.where(is_likely, scores, 0.0)
            best = missing.argmax(axis=1)
            is_missing = missing.max(axis=1) > np.maximum(doubts, DOUBTFUL)
            suggested[is_missing, best[is_missing]] = True
            doubts = np.maximum(doubts, missing.max(axis=1))
        return cls(doubts, suggested, pairs)


def _interval(doubts: FloatArray) -> Interval:
    """Resample the texts with replacement (bootstrap): their doubts are Bernoulli probabilities."""
    rng = np.random.default_rng(_SEED)
    n_texts = len(doubts)
    step = max(1, _DRAWS // n_texts)
    sums = []
    with phase("Computing confidence intervals"):
        for start in range(0, INTERVAL_RESAMPLES, step):
            shape = min(step, INTERVAL_RESAMPLES - start), n_texts
            drawn = doubts[rng.integers(n_texts, size=shape)]
            sums.append((rng.random(shape) < drawn).sum(axis=1))
    return percentile_interval(np.concatenate(sums).astype(np.float64))
