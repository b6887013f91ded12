"""How unsure a classifier is about the label of a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.curation.array_store import ArrayStore
from trfcli_pipeline.evaluation.eval_prediction import FloatArray

# A text is unsure if the probabilities of its two labels differ by less.
UNSURE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """What is needed to read the scores of a classifier.

    Attributes:
        labels: The labels, in column order.
        exclusive: Whether exactly one label applies to each text.
        thresholds: Decision threshold of each label, if labels aren't exclusive.
            *Shape:* (labels,)
    """

    labels: Sequence[str]
    exclusive: bool
    thresholds: FloatArray

    def margins(self, scores: FloatArray) -> FloatArray:
        """How far each text is from another decision: 0 is as unsure as can be, 1 is certain.

        With exclusive labels, the difference between the two highest probabilities ("breaking
        ties", Luo et al. 2005, "Active Learning to Recognize Multiple Types of Plankton"). With
        several labels, the smallest distance of a score to its threshold, as a share of the
        distance from there to 0 or 1.

        Args:
            scores: *Shape:* (texts, labels)

        Returns:
            *Shape:* (texts,)
        """
        if self.exclusive:
            ordered = np.partition(scores, -2, axis=1)
            margins: FloatArray = ordered[:, -1] - ordered[:, -2]
            return margins
        return self._distances(scores).min(axis=1)

    def all_margins(self, scores: ArrayStore) -> FloatArray:
        """The margins of all texts of a store. *Shape:* (texts,)"""
        return np.concatenate([self.margins(each.astype(np.float64)) for each in scores.blocks()])

    def doubts(self, scores: FloatArray) -> list[tuple[str, float]]:
        """The labels that a text may have, with their scores, the likeliest first.

        Args:
            scores: The scores of one text. *Shape:* (labels,)

        Returns:
            Two labels, or only one if the text is sure or labels aren't exclusive.
        """
        if self.exclusive:
            first, second = np.argsort(-scores, kind="stable")[:2].tolist()
            chosen = [first, second] if scores[first] - scores[second] < UNSURE else [first]
        else:
            chosen = [int(self._distances(scores).argmin())]
        return [(self.labels[index], float(scores[index])) for index in chosen]

    def _distances(self, scores: FloatArray) -> FloatArray:
        above = scores >= self.thresholds
        rooms = np.where(above, 1 - self.thresholds, self.thresholds)
        distances: FloatArray = np.abs(scores - self.thresholds) / np.maximum(rooms, 1e-9)
        return distances
