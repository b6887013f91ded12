"""Cross-fitted linear probes on weighted texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch

from trfcli_pipeline.curation.cross_fitting import Indices, choose_features, cross_fit
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.probe import Probe, fit_probe
from trfcli_pipeline.evaluation.eval_prediction import FloatArray


@dataclass
class WeightedProbes:
    """The probes of all folds, which are fitted again when the weights of texts change.

    Args:
        features: *Shape:* (texts, width)
        gold: The labels of the texts.
        folds: The fold of each text. *Shape:* (texts,)
        penalty: See `probe.fit_probe`.
    """

    features: Features
    gold: Gold
    folds: Indices
    penalty: float
    _probes: dict[int, Probe] = field(default_factory=dict)

    @classmethod
    def choose(cls, candidates: Sequence[Features], gold: Gold, folds: Indices) -> Self:
        """Choose the features and the penalty; see `cross_fitting.choose_features`."""
        features, penalty = choose_features(candidates, gold, folds)
        return cls(features, gold, folds, penalty)

    def predict(self, weights: FloatArray | None) -> FloatArray:
        """Fit probes, starting from those of the last call, and predict the held-out texts.

        Args:
            weights: Weight of each text in the loss, by default 1. *Shape:* (texts,)

        Returns:
            *Shape:* (texts, labels)
        """

        def fit_predict(seen: Indices, held_out: Indices) -> FloatArray:
            fold = int(self.folds[held_out[0]])
            probe = fit_probe(
                self.features[seen],
                self.gold.take(seen),
                penalty=self.penalty,
                weights=None if weights is None else weights[seen],
                start=self._probes.get(fold),
            )
            self._probes[fold] = probe
            return probe.predict(self.features[held_out])

        n_threads = torch.get_num_threads()
        labels = self.gold.labels
        return cross_fit(fit_predict, self.folds, len(labels), n_threads=n_threads)
