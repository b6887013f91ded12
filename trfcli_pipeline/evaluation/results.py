"""Everything that an evaluation found: metrics, scores per label, and mistakes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from trfcli_pipeline.evaluation import metrics
from trfcli_pipeline.evaluation.abstention import FittedAbstention
from trfcli_pipeline.evaluation.bootstrap import intervals
from trfcli_pipeline.evaluation.calibration import Bin, calibration_error, reliability
from trfcli_pipeline.evaluation.eval_prediction import (
    DEFAULT_THRESHOLD,
    EvalPrediction,
    Threshold,
)
from trfcli_pipeline.evaluation.mistakes import (
    Confusion,
    Mistake,
    count_confusions,
    find_mistakes,
)
from trfcli_pipeline.evaluation.promises import SelectiveEvaluation
from trfcli_pipeline.evaluation.selective import Interval
from trfcli_pipeline.evaluation.summary import WeakLabel, find_weakest, summarize


@dataclass(frozen=True)
class LabelScore:
    """The scores of one label.

    Attributes:
        precision, recall, f: 0.0 where undefined, as in spaCy's Scorer.
        support: Number of scored texts with the gold label.
        auc: Area under the ROC curve. None unless some scored texts have the label and some don't.
        average_precision: None under the same condition.
        threshold: Decision threshold of the label; None if labels are exclusive.
    """

    label: str
    precision: float
    recall: float
    f: float
    support: int
    auc: float | None
    average_precision: float | None
    threshold: float | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All metrics of a text classifier, each computed on first access.

    Attributes:
        prediction: Gold and predicted labels of the texts that can be scored. All metrics are
            computed on these texts.
        n_texts: Number of texts, including those that can't be scored.
        n_words: Number of tokens that aren't whitespace; None if no pipeline ran.
        seconds: Run time of the pipeline, including tokenization; None if no pipeline ran.
        fitted_abstention: When the classifier doesn't answer; None if that wasn't fitted, or if
            other thresholds were used.
    """

    prediction: EvalPrediction
    n_texts: int
    n_words: int | None = None
    seconds: float | None = None
    fitted_abstention: FittedAbstention | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the classifier's order. Rows and columns are in this order, too."""
        return self.prediction.labels

    @property
    def exclusive_classes(self) -> bool:
        """Whether every text has exactly one label."""
        return self.prediction.exclusive

    @property
    def threshold(self) -> float | dict[str, float] | None:
        """The decision threshold, or one per label if they differ; None if labels are exclusive."""
        if self.exclusive_classes:
            return None
        values = self.prediction.thresholds.tolist()
        if len(set(values)) == 1:
            return float(values[0])
        return dict(zip(self.labels, values, strict=True))

    @property
    def n_scored(self) -> int:
        return len(self.prediction)

    @property
    def speed(self) -> float | None:
        """Words per second, None if no pipeline ran."""
        return self.n_words / self.seconds if self.n_words is not None and self.seconds else None

    @property
    def n_correct(self) -> int:
        """Number of scored texts with all labels correct."""
        return int(self.prediction.correct.sum())

    @property
    def accuracy(self) -> float:
        """Share of scored texts with all labels correct."""
        return self.n_correct / self.n_scored

    @cached_property
    def cats(self) -> Mapping[str, Any]:
        """The `cats_*` scores, as in spaCy's Scorer."""
        return metrics.spacy_scores(self.prediction)

    @property
    def micro_f(self) -> float:
        """`cats_micro_f`: F over the pooled predictions of all labels."""
        return float(self.cats["cats_micro_f"])

    @property
    def macro_f(self) -> float:
        """`cats_macro_f`: the mean F of the labels."""
        return float(self.cats["cats_macro_f"])

    @cached_property
    def macro_auc(self) -> float | None:
        """The mean AUC of the labels for which it is defined; None if there are none.

        spaCy's `cats_macro_auc` counts the other labels as 0.0, whatever the classifier predicts.
        """
        return metrics.mean_of_defined(list(self.cats["cats_auc_per_type"].values()))

    @cached_property
    def average_precisions(self) -> Mapping[str, float | None]:
        """Average precision of each label; None unless some texts have the label and some don't."""
        values = metrics.average_precision(self.prediction)
        return dict(zip(self.labels, values, strict=True))

    @property
    def macro_average_precision(self) -> float | None:
        """The mean of the labels for which it is defined; None if there are none."""
        return metrics.mean_of_defined(list(self.average_precisions.values()))

    @cached_property
    def weighted(self) -> Mapping[str, float]:
        """`weighted_p`, `weighted_r` and `weighted_f`: means over labels, weighted by support."""
        return metrics.weighted_scores(metrics.count(self.prediction))

    @cached_property
    def mcc(self) -> float:
        """Matthews correlation coefficient, from -1 to 1."""
        return metrics.matthews_correlation(self.prediction)

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """Mean confidence and accuracy of predictions, binned by confidence."""
        return reliability(self.prediction)

    @property
    def ece(self) -> float:
        """Expected calibration error, from 0 (calibrated) to 1."""
        return calibration_error(self.reliability)

    @cached_property
    def selective(self) -> SelectiveEvaluation:
        """Whether the classifier kept its promises on these texts."""
        return SelectiveEvaluation(self.prediction, self.fitted_abstention)

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """95 % confidence intervals of `accuracy`, `cats_micro_f` and `cats_macro_f`.

        F scores that are the same in all resamples have none.
        """
        return intervals(self.prediction)

    @cached_property
    def label_scores(self) -> tuple[LabelScore, ...]:
        """The scores of each label, in the order of `labels`."""
        support = metrics.count(self.prediction).support
        thresholds = self.prediction.thresholds.tolist()
        rows = []
        for column, label in enumerate(self.labels):
            prf = self.cats["cats_f_per_type"][label]
            rows.append(
                LabelScore(
                    label=label,
                    precision=prf["p"],
                    recall=prf["r"],
                    f=prf["f"],
                    support=int(support[column]),
                    auc=self.cats["cats_auc_per_type"][label],
                    average_precision=self.average_precisions[label],
                    threshold=None if self.exclusive_classes else thresholds[column],
                )
            )
        return tuple(rows)

    @cached_property
    def confusion_matrix(self) -> tuple[tuple[int, ...], ...] | None:
        """Number of texts, one row per gold label, one column per predicted label.

        None unless labels are exclusive.
        """
        if not self.exclusive_classes:
            return None
        return tuple(tuple(row) for row in metrics.confusion_matrix(self.prediction).tolist())

    @cached_property
    def confusions(self) -> tuple[Confusion, ...]:
        """Pairs of confused labels, the most frequent first."""
        return tuple(count_confusions(self.labels, self.confusion_matrix or ()))

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Texts with wrong predictions, the least confident first."""
        return tuple(find_mistakes(self.prediction))

    @cached_property
    def weakest_label(self) -> WeakLabel | None:
        """The label that is predicted worst; None if the differences may be due to chance."""
        return find_weakest(self.prediction)

    @property
    def summary(self) -> str:
        """The evaluation in one sentence: how many texts are right, and the weakest label."""
        return summarize(self.prediction, is_all=self.n_scored == self.n_texts)

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json: plain JSON values, with None for undefined metrics."""
        matrix, weakest = self.confusion_matrix, self.weakest_label
        return {
            **self.cats,
            "accuracy": self.accuracy,
            **self.weighted,
            "mcc": self.mcc,
            "macro_auc": self.macro_auc,
            "macro_average_precision": self.macro_average_precision,
            "average_precision_per_type": dict(self.average_precisions),
            "ece": self.ece,
            "aurc": self.selective.curve.area,
            "accuracy_at_coverage": self.selective.accuracies,
            "abstention": self.selective.as_json(),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "speed": self.speed,
            "n_texts": self.n_texts,
            "n_scored": self.n_scored,
            "n_correct": self.n_correct,
            "n_words": self.n_words,
            "labels": list(self.labels),
            "texts_per_type": {row.label: row.support for row in self.label_scores},
            "exclusive_classes": self.exclusive_classes,
            "threshold": self.threshold,
            "confusion_matrix": None if matrix is None else [list(row) for row in matrix],
            "weakest_label": None if weakest is None else asdict(weakest),
            "summary": self.summary,
        }


def score_cats(
    gold: Sequence[Mapping[str, float | None]],
    predicted: Sequence[Mapping[str, float]],
    labels: Sequence[str],
    *,
    exclusive: bool,
    threshold: Threshold = DEFAULT_THRESHOLD,
) -> Evaluation:
    """Score predicted `Doc.cats` against gold ones.

    For the arguments and the errors, see `EvalPrediction.from_cats`.
    """
    prediction = EvalPrediction.from_cats(
        gold, predicted, labels, exclusive=exclusive, threshold=threshold
    )
    return Evaluation(prediction, n_texts=len(gold))
