"""Whether two classifiers are really different, or only luckier with these texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trfcli_pipeline.errors import PipelineError
from trfcli_pipeline.evaluation.bootstrap import Interval, percentile_interval, resampled_figures
from trfcli_pipeline.evaluation.classifier import Classifier
from trfcli_pipeline.evaluation.eval_prediction import Bools, Floats
from trfcli_pipeline.evaluation.scores import Evaluation

__all__ = ["Comparison", "Difference", "check_comparable"]

RESAMPLES = 2000
# Differences that chance makes in fewer cases than this count as real.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Difference:
    """How two classifiers differ in one figure.

    Attributes:
        a, b: The figure of each.
        interval: 95 % percentile interval of b - a, of a bootstrap with both on the same texts.
        p_value: Twice the share of resamples in which the difference has the other sign or none,
            at most 1 (Efron and Tibshirani 1993, chapters 13 and 15).
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
    """Two classifiers' decisions about the same texts.

    Attributes:
        a, b: Their evaluations, on the same gold records and labels.
        seed: Seed of the bootstrap.
    """

    a: Evaluation
    b: Evaluation
    seed: int = 0

    def __post_init__(self) -> None:
        gold_a, gold_b = self.a.decisions.gold, self.b.decisions.gold
        if self.a.labels != self.b.labels or not np.array_equal(gold_a, gold_b, equal_nan=True):
            raise ValueError("only evaluations on the same gold records can be compared")

    @cached_property
    def differences(self) -> Mapping[str, Difference]:
        """Of accuracy, of macro F, and of micro F where it isn't the accuracy."""
        a, b = resampled_figures(
            [self.a.decisions, self.b.decisions], resamples=RESAMPLES, seed=self.seed
        )
        names = ["accuracy", "cats_macro_f"]
        if not self.a.exclusive_classes:
            names.append("cats_micro_f")
        figures = ({"accuracy": each.accuracy, **each.cats} for each in (self.a, self.b))
        of_a, of_b = figures
        return {name: _difference(of_a[name], of_b[name], b[name] - a[name]) for name in names}

    @cached_property
    def only_a(self) -> tuple[int, ...]:
        """Texts that only A has right, as places in the texts, counted from 0."""
        return self._places(self.a.decisions.correct & ~self.b.decisions.correct)

    @cached_property
    def only_b(self) -> tuple[int, ...]:
        """Texts that only B has right."""
        return self._places(self.b.decisions.correct & ~self.a.decisions.correct)

    @cached_property
    def n_both(self) -> int:
        """Number of texts that both have right."""
        return int((self.a.decisions.correct & self.b.decisions.correct).sum())

    @property
    def n_neither(self) -> int:
        """Number of texts that both have wrong."""
        return self.a.n_scored - self.n_both - len(self.only_a) - len(self.only_b)

    @cached_property
    def mcnemar(self) -> float:
        """p-value of McNemar's exact test (McNemar 1947).

        How likely it is that texts which only one of the two has right are shared out so
        unevenly, if either is as likely to be the one.
        """
        from scipy.stats import binomtest

        n = len(self.only_a) + len(self.only_b)
        return float(binomtest(len(self.only_a), n).pvalue) if n else 1.0

    @property
    def better(self) -> Mapping[str, str | None]:
        """For accuracy and macro F "A" or "B", whichever is really better, or None.

        In accuracy, McNemar's test decides; in macro F, the bootstrap.
        """
        p_values = {
            "accuracy": self.mcnemar,
            "cats_macro_f": self.differences["cats_macro_f"].p_value,
        }
        return {
            name: None
            if p_value >= SIGNIFICANCE
            else ("B" if self.differences[name].value > 0 else "A")
            for name, p_value in p_values.items()
        }

    def as_json(self) -> dict[str, Any]:
        """All figures as plain JSON values, the texts as places counted from 0."""
        return {
            "n_texts": self.a.n_texts,
            "n_scored": self.a.n_scored,
            "differences": {
                name: {
                    "a": each.a,
                    "b": each.b,
                    "difference": each.value,
                    "interval": list(each.interval),
                    "p_value": each.p_value,
                }
                for name, each in self.differences.items()
            },
            "mcnemar_p_value": self.mcnemar,
            "better": dict(self.better),
            "n_both": self.n_both,
            "n_neither": self.n_neither,
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }

    def _places(self, mask: Bools) -> tuple[int, ...]:
        return tuple(self.a.decisions.indices[mask].tolist())


def check_comparable(a: Classifier, b: Classifier) -> None:
    """Make sure that two classifiers answer the same question.

    Raises:
        PipelineError: Their labels differ, or only those of one are exclusive.
    """
    for one, other, name, other_name in ((a, b, "A", "B"), (b, a, "B", "A")):
        missing = [label for label in one.labels if label not in other.labels]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise PipelineError(
                f"The models have different labels: {other_name} lacks "
                f"{', '.join(missing[:5])}{more}, which {name} has",
                hint="Compare models that were trained on the same labels",
            )
    if a.exclusive != b.exclusive:
        single, several = ("A", "B") if a.exclusive else ("B", "A")
        raise PipelineError(
            f"{single} gives each text one label, {several} any number of them",
            hint="Train both with --exclusive, or both with --multilabel",
        )


def _difference(a: float, b: float, resampled: Floats) -> Difference:
    # Rounding alone is no difference.
    resampled = np.where(np.abs(resampled) < 1e-12, 0.0, resampled)
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    # One more in each, as no finite number of resamples shows that something never happens.
    p_value = min(1.0, 2 * (tail + 1) / (len(resampled) + 1))
    return Difference(a, b, percentile_interval(resampled), p_value)
