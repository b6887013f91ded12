"""Self-training: a probe learns from its own predictions for unlabeled texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from trfcli_pipeline.curation.cross_fitting import Indices, assign_folds, cross_fit
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import Probe, fit_probe, log_loss
from trfcli_pipeline.evaluation.eval_prediction import FloatArray
from trfcli_pipeline.evaluation.temperature import calibrate

# With more unlabeled texts, probes hardly change.
MOST_UNLABELED = 2000
_PENALTY = 0.1
_ROUNDS = 3
# Weight of an unlabeled text; a labeled one has 1.
_WEIGHT = 0.1
# Temperature of the targets: below 1, confident predictions count more than unsure ones.
_TEMPERATURE = 0.5
# Temperatures to choose from when predictions are compared.
_TEMPERATURES = np.geomspace(0.2, 5, 25)


@dataclass(frozen=True, slots=True)
class SelfTraining:
    """A probe of labeled and unlabeled texts, and whether it is better than one without the latter.

    Attributes:
        probe: The probe.
        n_unlabeled: Number of unlabeled texts.
        before, after: Cross-entropy on labeled texts that weren't seen, without and with the
            unlabeled texts.
        score_before, score_after: The share of the labels that are predicted correctly there.
    """

    probe: Probe
    n_unlabeled: int
    before: float
    after: float
    score_before: float
    score_after: float

    @property
    def helps(self) -> bool:
        """Whether the unlabeled texts lower the cross-entropy, which has less noise than scores.

        A difference that doesn't show in three digits doesn't count.
        """
        return round(self.after, 3) < round(self.before, 3)


def fit_start(features: Features, gold: Gold) -> Probe:
    """Fit the probe that self-training starts from, to labeled texts only; see `self_train`."""
    return fit_probe(features, gold, penalty=_PENALTY)


def self_train(features: Features, gold: Gold, unlabeled: Features) -> Probe:
    """Fit a probe to labeled texts, and then to its own sharpened predictions as well.

    Predictions are soft targets (Grandvalet and Bengio 2004, "Semi-supervised Learning by Entropy
    Minimization", section 4.1): a text that the probe is unsure about hardly changes it.

    Args:
        features: Features of the labeled texts. *Shape:* (texts, width)
        gold: Their labels.
        unlabeled: Features of the unlabeled texts. *Shape:* (unlabeled texts, width)
    """
    probe = fit_start(features, gold)
    together = np.concatenate([features, unlabeled])
    weights = np.repeat([1.0, _WEIGHT], [len(features), len(unlabeled)])
    for _ in range(_ROUNDS):
        targets = calibrate(probe.predict(unlabeled), _TEMPERATURE, exclusive=gold.exclusive)
        values = np.concatenate([gold.values, targets])
        targets_of_all = replace(gold, values=values)
        probe = fit_probe(together, targets_of_all, penalty=_PENALTY, weights=weights, start=probe)
    return probe


def compare_self_training(
    texts: Sequence[str], features: Features, gold: Gold, unlabeled: Features
) -> SelfTraining:
    """Self-train a probe, and cross-fit it to see whether that helps.

    Args:
        texts: The labeled texts.
        features: Their features. *Shape:* (texts, width)
        gold: Their labels.
        unlabeled: Features of the unlabeled texts. *Shape:* (unlabeled texts, width)
    """
    folds = assign_folds(texts, gold)

    def without(seen: Indices, held_out: Indices) -> FloatArray:
        return fit_start(features[seen], gold.take(seen)).predict(features[held_out])

    def with_unlabeled(seen: Indices, held_out: Indices) -> FloatArray:
        return self_train(features[seen], gold.take(seen), unlabeled).predict(features[held_out])

    before, after = (
        cross_fit(each, folds, len(gold.labels), n_threads=torch.get_num_threads())
        for each in (without, with_unlabeled)
    )
    return SelfTraining(
        self_train(features, gold, unlabeled),
        len(unlabeled),
        calibrated_loss(before, gold),
        calibrated_loss(after, gold),
        _share_correct(before, gold),
        _share_correct(after, gold),
    )


def calibrated_loss(scores: FloatArray, gold: Gold) -> float:
    """The mean cross-entropy of known labels at the best temperature.

    So only what a probe knows is compared, not how confident it is.

    Args:
        scores: Probabilities. *Shape:* (texts, labels)
        gold: The labels.
    """
    return min(
        log_loss(calibrate(scores, temperature, exclusive=gold.exclusive), gold)
        for temperature in _TEMPERATURES.tolist()
    )


def _share_correct(scores: FloatArray, gold: Gold) -> float:
    if gold.exclusive:
        return float((scores.argmax(axis=1) == gold.classes).mean())
    known = ~np.isnan(gold.values)
    return float(((scores >= 0.5) == (gold.values >= 0.5))[known].mean())
