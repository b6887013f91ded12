"""When a classifier doesn't answer: its confidence in each answer, and what it promises."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from trfcli_pipeline.evaluation import conformal, selective
from trfcli_pipeline.evaluation.eval_prediction import EvalPrediction, FloatArray, decide
from trfcli_pipeline.evaluation.temperature import calibrate, fit_temperature

# From fewer texts, shares such as 95 % can't be estimated.
FEWEST_TEXTS = 100
DEFAULT_ACCURACY = 0.95
_DIGITS = 8


class Aim(NamedTuple):
    """What the threshold for an answer is chosen for.

    Attributes:
        kind: The share of the texts to answer ("coverage"), or the share of the answers that are to
            be correct ("accuracy").
        value: The share.
    """

    kind: Literal["coverage", "accuracy"] = "accuracy"
    value: float = DEFAULT_ACCURACY


class Abstention(NamedTuple):
    """What decides whether a text gets an answer, and which labels are in its set.

    Attributes:
        temperature: See `temperature.calibrate`.
        min_confidence: The confidence from which a text is answered; None if no threshold keeps
            the promise.
        min_probability: The calibrated probability from which a label is in the set.
    """

    temperature: float
    min_confidence: float | None
    min_probability: float

    def is_unsure(
        self, scores: FloatArray, thresholds: FloatArray, *, exclusive: bool
    ) -> list[bool] | None:
        """Say which texts aren't answered; None if all are, because there is no threshold.

        Args:
            scores: Predicted scores. *Shape:* (texts, labels)
            thresholds: Decision threshold of each label. *Shape:* (labels,)
            exclusive: Whether exactly one label applies to each text.
        """
        if self.min_confidence is None:
            return None
        confidence = answer_confidence(scores, thresholds, self.temperature, exclusive=exclusive)
        return [bool(each) for each in confidence < self.min_confidence]

    def label_sets(
        self, scores: FloatArray, labels: Sequence[str], *, exclusive: bool
    ) -> list[list[str]]:
        """Return the label set of each text, by descending score; see `conformal`.

        Args:
            scores: *Shape:* (texts, labels)
            labels: The labels, in column order.
        """
        probabilities = calibrate(scores, self.temperature, exclusive=exclusive)
        sets = conformal.label_sets(probabilities, self.min_probability, exclusive=exclusive)
        order = np.argsort(-scores, axis=1, kind="stable")
        return [
            [labels[column] for column in columns if chosen[column]]
            for columns, chosen in zip(order.tolist(), sets.tolist(), strict=True)
        ]


class FittedAbstention(NamedTuple):
    """An abstention with what the dev texts say about it.

    Attributes:
        abstention: What decides.
        aim: What its threshold was chosen for.
        texts: Number of dev texts.
        coverage: Share of them that is answered; None if there is no threshold.
        accuracy: Share of the answers that are correct.
        accuracy_bound: The accuracy on new texts is at least this with a probability of 90 %.
        set_size: Mean number of labels in a set.
    """

    abstention: Abstention
    aim: Aim
    texts: int
    coverage: float | None
    accuracy: float | None
    accuracy_bound: float | None
    set_size: float

    @property
    def summary(self) -> str:
        """Say in one sentence how many texts are answered, and how many answers are right."""
        if self.coverage is None or self.accuracy is None or self.accuracy_bound is None:
            return (
                "Answers every text: no confidence threshold ensures on the dev set that "
                f"{_percent(self.aim.value)} of the answers are right"
            )
        texts = "all texts" if self.coverage == 1 else f"{_percent(self.coverage)} of the texts"
        return (
            f"Answers {texts}, and is right in {_percent(self.accuracy)} of those (dev); on new "
            f"texts like these, in at least {_percent(self.accuracy_bound)} with 90 % confidence"
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, from which `from_json` restores this."""
        others = self._asdict()
        return {**others.pop("abstention")._asdict(), **others, "aim": self.aim._asdict()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Restore what `as_json` returned, also from JSON that srsly has read imprecisely."""
        values = {
            name: round(each, _DIGITS) if isinstance(each, float) else each
            for name, each in {**values, **values["aim"]}.items()
        }
        own = {name: values[name] for name in cls._fields if name not in ("abstention", "aim")}
        decisive = Abstention(*(values[name] for name in Abstention._fields))
        return cls(abstention=decisive, aim=Aim(values["kind"], values["value"]), **own)


def _rounded_down(threshold: float) -> float:
    """The threshold with so few digits that it is the same once it was saved as JSON by srsly."""
    return math.floor(threshold * 10**_DIGITS) / 10**_DIGITS


def _short(value: float) -> float:
    return round(float(value), _DIGITS)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def answer_confidence(
    scores: FloatArray, thresholds: FloatArray, temperature: float, *, exclusive: bool
) -> FloatArray:
    """Compute the probability that all labels predicted for a text are correct.

    With exclusive labels it is the highest probability (Hendrycks and Gimpel 2017,
    https://arxiv.org/abs/1610.02136). Otherwise it is the product of the probabilities of the
    decisions, as if the labels were independent of each other.

    Args:
        scores: Predicted scores. *Shape:* (texts, labels)
        thresholds: Decision threshold of each label, ignored if labels are exclusive.
            *Shape:* (labels,)
        temperature: See `temperature.calibrate`.
        exclusive: Whether exactly one label applies to each text.

    Returns:
        *Shape:* (texts,)
    """
    probabilities = calibrate(scores, temperature, exclusive=exclusive)
    if exclusive:
        confidence: FloatArray = probabilities.max(axis=1)
    else:
        applies = decide(scores, thresholds, exclusive=False)
        confidence = np.where(applies, probabilities, 1.0 - probabilities).prod(axis=1)
    return confidence


def fit_abstention(prediction: EvalPrediction, aim: Aim | None = None) -> FittedAbstention | None:
    """Fit temperature, thresholds and label sets on texts that weren't trained on.

    Args:
        prediction: Gold labels and predicted scores of these texts.
        aim: What the threshold for an answer is chosen for; by default that 95 % of the answers are
            correct.

    Returns:
        None if there are fewer than 100 texts.
    """
    if len(prediction) < FEWEST_TEXTS:
        return None
    aim, exclusive = aim or Aim(), prediction.exclusive
    temperature = fit_temperature(prediction)
    confidence = answer_confidence(
        prediction.scores, prediction.thresholds, temperature, exclusive=exclusive
    )
    if aim.kind == "coverage":
        least: float | None = selective.choose_for_coverage(confidence, aim.value)
    else:
        least = selective.choose_for_accuracy(confidence, prediction.correct, aim.value)
    least = None if least is None else _rounded_down(least)
    probabilities = calibrate(prediction.scores, temperature, exclusive=exclusive)
    threshold = _rounded_down(
        conformal.fit_threshold(probabilities, prediction.is_gold, exclusive=exclusive)
    )
    sets = conformal.label_sets(probabilities, threshold, exclusive=exclusive)
    coverage = accuracy = bound = None
    if least is not None:
        answered = confidence >= least
        n_answered, n_correct = int(answered.sum()), int(prediction.correct[answered].sum())
        coverage, accuracy = _short(n_answered / len(prediction)), _short(n_correct / n_answered)
        # A threshold that was chosen for an accuracy was tested for just that.
        bound = aim.value
        if aim.kind == "coverage":
            bound = _short(selective.accuracy_bound(n_correct, n_answered))
    return FittedAbstention(
        Abstention(temperature, least, threshold),
        aim,
        len(prediction),
        coverage,
        accuracy,
        bound,
        _short(sets.sum(axis=1).mean()),
    )
