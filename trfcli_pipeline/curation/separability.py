"""Whether the features of a frozen encoder separate the labels, beside a bag of words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trfcli_pipeline.curation.baseline import bag_of_words
from trfcli_pipeline.curation.cross_fitting import FOLDS, assign_folds, choose_penalty, linear_probe
from trfcli_pipeline.curation.extrapolation import Band, Extrapolation
from trfcli_pipeline.curation.features import Features
from trfcli_pipeline.curation.gold import Gold
from trfcli_pipeline.curation.learning_curve import (
    Draw,
    LearningCurve,
    cross_fitted_draws,
    curve_sizes,
    measure_curve,
    predict_labels,
)
from trfcli_pipeline.evaluation.metric_names import metric_name

# Share of the way from predicting without looking at the texts to a perfect score. Below it, we
# say that the encoder hardly separates the labels.
_POOR = 0.25


@dataclass(frozen=True, slots=True)
class Separability:
    """Scores of a probe of the encoder and of a bag of words, on the same texts.

    Attributes:
        metric: The key of the score: "accuracy", or "cats_micro_f" if labels aren't exclusive.
        n_train: Number of texts that both were fitted to.
        encoder: The score of the probe.
        words: The score of the bag of words.
        difference: `encoder - words`; paired, so its band is narrower than those of the scores.
        chance: The score of predicting the same for every text.
    """

    metric: str
    n_train: int
    encoder: Band
    words: Band
    difference: Band
    chance: float

    @property
    def words_are_ahead(self) -> bool:
        """Whether the bag of words scores higher, and not just by chance."""
        return self.difference.high < 0

    @property
    def is_poor(self) -> bool:
        """Whether the probe's score is close to chance."""
        return self.encoder.value - self.chance < _POOR * (1 - self.chance)

    @property
    def warning(self) -> str | None:
        """What to know before relying on this encoder, as a sentence; None if all is well."""
        name = metric_name(self.metric)
        scores = f"{name} {self.encoder.value:.2f}"
        if self.words_are_ahead:
            return (
                f"A bag of words predicts these labels better than the frozen encoder "
                f"({name} {self.words.value:.2f} instead of {self.encoder.value:.2f}, "
                "cross-fitted): compare the fine-tuned model with it, or try another encoder"
            )
        if self.is_poor:
            return (
                f"The frozen encoder hardly separates these labels ({scores}, cross-fitted; the "
                f"same prediction for every text scores {self.chance:.2f}): check the labels, or "
                "try another encoder"
            )
        return None

    def as_json(self) -> dict[str, object]:
        """All scores; each with the low and high end of its band."""
        return {
            "texts": self.n_train,
            "frozen_encoder": self.encoder.as_json(),
            "bag_of_words": self.words.as_json(),
            "difference": self.difference.as_json(),
            "chance": self.chance,
            "words_are_ahead": self.words_are_ahead,
            "encoder_is_poor": self.is_poor,
        }


def compare_with_words(
    curve: LearningCurve, texts: Sequence[str], gold: Gold, draws: Sequence[Draw]
) -> Separability:
    """Compare a probe with a bag of words that is fitted to the same texts.

    Args:
        curve: The learning curve of the probe, of which the last size counts.
        texts: All texts.
        gold: Their labels.
        draws: The draws of the curve.
    """
    fit_predict = bag_of_words(texts, gold)
    sizes = curve.sizes[-1:]
    words = measure_curve(fit_predict, gold, draws, sizes, "Fitting a bag of words")
    # The same seed draws the same texts for both.
    n_train = int(sizes[0])
    encoder, other = (Extrapolation(each, n_train).measured[:, -1] for each in (curve, words))
    return Separability(
        "accuracy" if gold.exclusive else "cats_micro_f",
        n_train,
        encoder=Band.of(float(encoder[0]), encoder[1:]),
        words=Band.of(float(other[0]), other[1:]),
        difference=Band.of(float(encoder[0] - other[0]), encoder[1:] - other[1:]),
        chance=_chance(words),
    )


def separability_warning(texts: Sequence[str], features: Features, gold: Gold) -> str | None:
    """Find what to know before relying on an encoder; see `Separability.warning`.

    Args:
        texts: Labeled texts; a few hundred take a second.
        features: Their features, with a mean norm of about 1. *Shape:* (texts, width)
        gold: Their labels.
    """
    draws = cross_fitted_draws(texts, gold, n_folds=FOLDS)
    largest = curve_sizes(draws)[-1:]
    folds = assign_folds(texts, gold)
    probe = linear_probe(features, gold, penalty=choose_penalty(features, gold, folds))
    curve = measure_curve(probe, gold, draws, largest, "Comparing with a bag of words")
    return compare_with_words(curve, texts, gold, draws).warning


def _chance(curve: LearningCurve) -> float:
    """The score of predicting the same labels for every text."""
    shares = curve.gold.sum(axis=0) / np.maximum(curve.known.sum(axis=0), 1)
    if curve.exclusive:
        return float(shares.max())
    chosen = predict_labels(shares[np.newaxis], exclusive=False)[0]
    tp = curve.gold[:, chosen].sum()
    return float(2 * tp / max(curve.known[:, chosen].sum() + curve.gold.sum(), 1))
