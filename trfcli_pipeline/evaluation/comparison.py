"""Compare two text classifiers on the same texts, with tests of significance."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.bootstrap import Interval, percentile_interval, resampled_metrics
from trfcli_pipeline.evaluation.classifier import Classifier
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray
from trfcli_pipeline.evaluation.results import Evaluation

COMPARISON_RESAMPLES = 2000
# p-values below this level count as significant.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Difference:
    """The difference between two classifiers in one metric.

    Attributes:
        a, b: The metric of each classifier.
        interval: 95 % percentile interval of b - a, from a paired bootstrap.
        p_value: Two-sided bootstrap p-value: twice the share of resamples in which the difference
            is zero or has the opposite sign, at most 1 (Efron and Tibshirani 1993, chapters 13
            and 15).
    """

    a: float
    b: float
    interval: Interval
    p_value: float

    @property
    def value(self) -> float:
        return self.b - self.a


@dataclass(frozen=True, eq=False)
class Comparison:
    """The evaluations of two classifiers on the same texts.

    Attributes:
        a, b: The evaluations, with the same labels and gold records.
    """

    a: Evaluation
    b: Evaluation

    def __post_init__(self) -> None:
        gold_a, gold_b = self.a.prediction.gold, self.b.prediction.gold
        if self.a.labels != self.b.labels or not np.array_equal(gold_a, gold_b, equal_nan=True):
            raise ValueError("both evaluations must be on the same gold records")

    @cached_property
    def differences(self) -> Mapping[str, Difference]:
        """By metric: accuracy, macro F, and for multi-label classifiers micro F.

        With exclusive labels, micro F equals accuracy.
        """
        a, b = resampled_metrics([self.a.prediction, self.b.prediction], COMPARISON_RESAMPLES)
        names = ["accuracy", "cats_macro_f"]
        if not self.a.exclusive_classes:
            names.append("cats_micro_f")
        of_a, of_b = ({"accuracy": each.accuracy, **each.cats} for each in (self.a, self.b))
        return {name: _difference(of_a[name], of_b[name], b[name] - a[name]) for name in names}

    @cached_property
    def only_a(self) -> tuple[int, ...]:
        """Indices of the texts that only A predicts correctly, counted from 0."""
        return self._indices(self.a.prediction.correct & ~self.b.prediction.correct)

    @cached_property
    def only_b(self) -> tuple[int, ...]:
        """Indices of the texts that only B predicts correctly, counted from 0."""
        return self._indices(self.b.prediction.correct & ~self.a.prediction.correct)

    @cached_property
    def n_both(self) -> int:
        """Number of texts that both predict correctly."""
        return int((self.a.prediction.correct & self.b.prediction.correct).sum())

    @property
    def n_neither(self) -> int:
        """Number of texts that neither predicts correctly."""
        return self.a.n_scored - self.n_both - len(self.only_a) - len(self.only_b)

    @cached_property
    def mcnemar(self) -> float:
        """p-value of the exact McNemar test on accuracy (McNemar 1947).

        The test looks at the texts that only one of the two classifiers predicts correctly. The
        p-value is the probability of a split at least as uneven if both were equally likely to be
        the correct one.
        """
        from scipy.stats import binomtest

        n = len(self.only_a) + len(self.only_b)
        return float(binomtest(len(self.only_a), n).pvalue) if n else 1.0

    @property
    def better(self) -> Mapping[str, str | None]:
        """Which classifier, "A" or "B", is significantly better in accuracy and macro F.

        None where the difference isn't significant. Accuracy is tested by McNemar's test, macro F
        by the bootstrap.
        """
        p_values = {
            "accuracy": self.mcnemar,
            "cats_macro_f": self.differences["cats_macro_f"].p_value,
        }
        higher = {name: "B" if each.value > 0 else "A" for name, each in self.differences.items()}
        return {name: higher[name] if p < SIGNIFICANCE else None for name, p in p_values.items()}

    def as_json(self) -> dict[str, Any]:
        """All results as plain JSON values."""
        return {
            "n_texts": self.a.n_texts,
            "n_scored": self.a.n_scored,
            "differences": {
                name: {**asdict(each), "interval": list(each.interval), "difference": each.value}
                for name, each in self.differences.items()
            },
            "mcnemar_p_value": self.mcnemar,
            "better": dict(self.better),
            "n_both": self.n_both,
            "n_neither": self.n_neither,
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }

    def _indices(self, mask: BoolArray) -> tuple[int, ...]:
        return tuple(self.a.prediction.indices[mask].tolist())


def check_comparable(a: Classifier, b: Classifier) -> None:
    """Check that two classifiers predict the same labels in the same way.

    Raises:
        PipelineError: The labels differ, or only one classifier has exclusive labels.
    """
    for one, other, name, other_name in ((a, b, "A", "B"), (b, a, "B", "A")):
        missing = [label for label in one.labels if label not in other.labels]
        if missing:
            raise PipelineError(
                f"The models have different labels: {other_name} lacks {enumeration(missing)}, "
                f"which {name} has",
                hint="Compare models trained on the same labels",
            )
    if a.exclusive != b.exclusive:
        single, several = ("A", "B") if a.exclusive else ("B", "A")
        raise PipelineError(
            f"{single} predicts exactly one label per text, {several} any number of labels",
            hint="Train both with --exclusive or both with --multilabel",
        )


def _difference(a: float, b: float, resampled: FloatArray) -> Difference:
    # Treat differences within rounding error as zero.
    resampled = np.where(np.abs(resampled) < 1e-12, 0.0, resampled)
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    # Adding one keeps the p-value above zero: no finite number of resamples can prove zero.
    p_value = min(1.0, 2 * (tail + 1) / (len(resampled) + 1))
    return Difference(a, b, percentile_interval(resampled), p_value)
