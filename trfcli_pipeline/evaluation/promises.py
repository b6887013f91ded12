"""Whether a classifier keeps its promises on test texts: its answers, and its label sets."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from trfcli_pipeline.evaluation import conformal
from trfcli_pipeline.evaluation.abstention import FittedAbstention, answer_confidence
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, EvalPrediction, FloatArray
from trfcli_pipeline.evaluation.selective import (
    Interval,
    RiskCoverage,
    risk_coverage,
    share_interval,
)
from trfcli_pipeline.evaluation.temperature import calibrate

# The coverages at which the accuracy is reported.
COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)

# "chance": the value is lower than promised, but its interval contains the promised one.
Verdict = Literal["kept", "chance", "broken"]


@dataclass(frozen=True, slots=True)
class Promise:
    """A share that was promised, and what it is on test texts.

    Attributes:
        promised: The promised share, from 0 to 1.
        found: The share of the test texts.
        interval: Its 95 % interval.
    """

    promised: float
    found: float
    interval: Interval

    @property
    def verdict(self) -> Verdict:
        """Whether the promise was kept."""
        if self.found >= self.promised:
            return "kept"
        return "chance" if self.interval[1] >= self.promised else "broken"


@dataclass(frozen=True, eq=False)
class SelectiveEvaluation:
    """The confidence of a classifier in its answers, and whether it keeps its promises.

    Attributes:
        prediction: Gold and predicted labels of the test texts.
        fitted: When the classifier doesn't answer; None if that wasn't fitted.
    """

    prediction: EvalPrediction
    fitted: FittedAbstention | None

    @cached_property
    def confidence(self) -> FloatArray:
        """The confidence in each answer; see `answer_confidence`. *Shape:* (texts,)"""
        temperature = 1.0 if self.fitted is None else self.fitted.abstention.temperature
        return answer_confidence(
            self.prediction.scores,
            self.prediction.thresholds,
            temperature,
            exclusive=self.prediction.exclusive,
        )

    @cached_property
    def curve(self) -> RiskCoverage:
        """The error rate of the most confident answers, for each number of them."""
        return risk_coverage(self.confidence, self.prediction.correct)

    @property
    def accuracies(self) -> dict[str, float]:
        """The accuracy of the most confident answers, by their share of all texts."""
        return {f"{coverage:g}": self.curve.accuracy_at(coverage) for coverage in COVERAGES}

    @cached_property
    def answered(self) -> BoolArray | None:
        """Which texts are answered; None if there is no threshold. *Shape:* (texts,)"""
        least = None if self.fitted is None else self.fitted.abstention.min_confidence
        return None if least is None else self.confidence >= least

    @property
    def coverage(self) -> Promise | None:
        """The share of texts that are answered; None without a threshold."""
        if self.answered is None or self.fitted is None or self.fitted.coverage is None:
            return None
        return _share(self.fitted.coverage, int(self.answered.sum()), len(self.answered))

    @property
    def accuracy(self) -> Promise | None:
        """The share of the answers that are correct; None if there are none."""
        fitted, answered = self.fitted, self.answered
        if answered is None or fitted is None or fitted.accuracy_bound is None:
            return None
        n_answered = int(answered.sum())
        n_correct = int(self.prediction.correct[answered].sum())
        return _share(fitted.accuracy_bound, n_correct, n_answered) if n_answered else None

    @cached_property
    def sets(self) -> BoolArray | None:
        """Which labels are in the set of each text; None if not fitted. *Shape:* (texts, labels)"""
        if self.fitted is None:
            return None
        temperature, _, threshold = self.fitted.abstention
        exclusive = self.prediction.exclusive
        probabilities = calibrate(self.prediction.scores, temperature, exclusive=exclusive)
        return conformal.label_sets(probabilities, threshold, exclusive=exclusive)

    @property
    def set_coverage(self) -> Promise | None:
        """The share of the labels that is in the sets, on average over the texts."""
        if self.sets is None:
            return None
        missed = conformal.missed_shares(self.sets, self.prediction.is_gold)
        # With several labels per text, the interval is wider than it has to be.
        return _share(conformal.COVERAGE, float((1.0 - missed).sum()), len(missed))

    @property
    def set_size(self) -> float | None:
        """Mean number of labels in a set."""
        return None if self.sets is None else float(self.sets.sum(axis=1).mean())

    def as_json(self) -> dict[str, Any] | None:
        """Return what was promised and found; None if nothing was fitted."""
        if self.fitted is None:
            return None
        promises = {
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "set_coverage": self.set_coverage,
        }
        return {
            **{name: None if each is None else _as_json(each) for name, each in promises.items()},
            "set_size": self.set_size,
            "temperature": self.fitted.abstention.temperature,
            "min_confidence": self.fitted.abstention.min_confidence,
            "min_probability": self.fitted.abstention.min_probability,
        }


def _share(promised: float, count: float, total: int) -> Promise:
    return Promise(promised, count / total, share_interval(count, total))


def _as_json(promise: Promise) -> dict[str, Any]:
    return {
        "promised": promise.promised,
        "found": promise.found,
        "interval": list(promise.interval),
        "verdict": promise.verdict,
    }
