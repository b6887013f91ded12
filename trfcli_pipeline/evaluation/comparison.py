"""Compare two text classifiers on the same texts, with tests of significance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trfcli_pipeline.data.wording import enumeration
from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.bootstrap import percentile_interval, resampled_metrics
from trfcli_pipeline.evaluation.classifier import Classifier
from trfcli_pipeline.evaluation.eval_prediction import BoolArray, FloatArray
from trfcli_pipeline.evaluation.results import Evaluation
from trfcli_pipeline.evaluation.selective import Interval

COMPARISON_RESAMPLES = 2000
# Corrected p-values below this level count as significant.
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


@dataclass(frozen=True)
class SignificanceTest:
    """The test of whether two classifiers differ in one metric.

    Attributes:
        name: "mcnemar" or "bootstrap".
        p_value: Probability of a difference at least as large if both were equally good.
        corrected_p_value: The same, corrected for testing several metrics; see `holm`.
        better: "A" or "B", whichever scores higher; None if they score the same.
    """

    name: str
    p_value: float
    corrected_p_value: float
    better: str | None

    @property
    def is_significant(self) -> bool:
        return self.corrected_p_value < SIGNIFICANCE


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

    @cached_property
    def tests(self) -> Mapping[str, SignificanceTest]:
        """The test of each metric in `differences`, in the same order.

        Accuracy is tested by McNemar's test, the others by the bootstrap. The more metrics are
        tested, the likelier is one p-value below the level by chance, so they are corrected.
        """
        p_values = {name: each.p_value for name, each in self.differences.items()}
        p_values["accuracy"] = self.mcnemar
        corrected = holm(list(p_values.values()))
        return {
            name: SignificanceTest(
                name="mcnemar" if name == "accuracy" else "bootstrap",
                p_value=p,
                corrected_p_value=corrected_p,
                better=_higher(self.differences[name]),
            )
            for (name, p), corrected_p in zip(p_values.items(), corrected, strict=True)
        }

    @property
    def better(self) -> Mapping[str, str | None]:
        """For each metric "A" or "B", whichever is significantly better, or None if neither is."""
        return {
            name: test.better if test.is_significant else None for name, test in self.tests.items()
        }

    def as_json(self) -> dict[str, Any]:
        """All results as plain JSON values."""
        return {
            "n_texts": self.a.n_texts,
            "n_scored": self.a.n_scored,
            "differences": {
                name: {**asdict(each), "interval": list(each.interval), "difference": each.value}
                for name, each in self.differences.items()
            },
            "tests": {
                name: {
                    "test": test.name,
                    "p_value": test.p_value,
                    "corrected_p_value": test.corrected_p_value,
                }
                for name, test in self.tests.items()
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


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for testing several hypotheses, by Holm's step-down method.

    With them, the probability of one or more false positives among all tests is at most the
    significance level, however the tests depend on each other (Holm 1979, A simple sequentially
    rejective multiple test procedure, Scandinavian Journal of Statistics 6).

    Returns:
        The corrected p-values, in the same order: the k-th smallest of n is multiplied by
        n - k + 1. None is smaller than one before it in the order of size, or greater than 1.
    """
    n = len(p_values)
    corrected = [0.0] * n
    highest = 0.0
    for rank, place in enumerate(sorted(range(n), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (n - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def check_comparable(a: Classifier, b: Classifier, *, names: tuple[str, str]) -> None:
    """Check that two classifiers predict the same labels in the same way.

    Args:
        names: The names of both pipelines for messages, such as "A (./model)".

    Raises:
        PipelineError: The labels differ, or only one classifier has exclusive labels.
    """
    name_a, name_b = names
    for one, other, name, other_name in ((a, b, name_a, name_b), (b, a, name_b, name_a)):
        missing = [label for label in one.labels if label not in other.labels]
        if missing:
            raise PipelineError(
                f"The pipelines have different labels: {name} has {enumeration(missing)}, "
                f"{other_name} doesn't",
                hint="Compare pipelines trained on the same labels",
            )
    if a.exclusive != b.exclusive:
        single, several = names if a.exclusive else reversed(names)
        raise PipelineError(
            f"{single} predicts exactly one label per text, {several} any number of labels",
            hint="Train both with --exclusive or both with --multilabel",
        )


def _higher(difference: Difference) -> str | None:
    if difference.value == 0:
        return None
    return "B" if difference.value > 0 else "A"


def _difference(a: float, b: float, resampled: FloatArray) -> Difference:
    # Treat differences within rounding error as zero.
    resampled = np.where(np.abs(resampled) < 1e-12, 0.0, resampled)
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    # Adding one keeps the p-value above zero: no finite number of resamples can prove zero.
    p_value = min(1.0, 2 * (tail + 1) / (len(resampled) + 1))
    return Difference(a, b, percentile_interval(resampled), p_value)
