"""The charts of the evaluation report, with captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.evaluation import charts, metrics
from trfcli_pipeline.evaluation.calibration import confidences
from trfcli_pipeline.evaluation.charts import Bars, Line
from trfcli_pipeline.evaluation.metric_names import metric_name
from trfcli_pipeline.evaluation.promises import Promise
from trfcli_pipeline.evaluation.results import Evaluation

_HISTOGRAM_BARS = 20
# More points can't be told apart.
_CURVE_POINTS = 400
# Styles that are easy to tell apart.
_STYLES = ("s1", "s2", "s3", "s4", "s5", "s6")


@dataclass(frozen=True)
class Chart:
    """A chart with its caption.

    Attributes:
        legend: Style and name of each line.
        header, rows: The same numbers as a table, if the chart has few.
    """

    title: str
    caption: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())


def draw_charts(
    evaluation: Evaluation, history: Sequence[Mapping[str, Any]], metric: str
) -> list[Chart]:
    """Draw all charts of the report; for the arguments, see `render_report`."""
    return [
        _reliability_chart(evaluation),
        _histogram_chart(evaluation),
        _selective_chart(evaluation),
        _precision_recall_chart(evaluation),
        *_learning_charts(history, metric),
    ]


def _reliability_chart(evaluation: Evaluation) -> Chart:
    bins = [each for each in evaluation.reliability if each.n]
    unit = "text" if evaluation.exclusive_classes else "label of a text"
    return Chart(
        title="Reliability",
        caption=f"Accuracy of predictions by confidence. Each {unit} is one prediction. On the "
        "diagonal, confidence equals accuracy; below it, the classifier is overconfident.",
        svg=charts.line_chart(
            [Line("Accuracy", [(b.confidence, b.accuracy) for b in bins], marked=True)],
            title="Reliability curve: accuracy by confidence",
            x=charts.unit_axis("confidence"),
            y=charts.unit_axis("accuracy"),
            guide=True,
        ),
        header=("Confidence", "Predictions", "Mean confidence", "Accuracy"),
        rows=[
            (
                f"{b.low:.1f} to {b.high:.1f}",
                f"{b.n:,}",
                format_score(b.confidence),
                format_score(b.accuracy),
            )
            for b in bins
        ],
    )


def _histogram_chart(evaluation: Evaluation) -> Chart:
    prediction = evaluation.prediction
    if evaluation.exclusive_classes:
        scores, is_up = confidences(prediction)
        names = ("correct", "wrong")
        caption = "Highest score of each text, for correct (up) and wrong (down) predictions."
        axis = "highest score"
    else:
        known = prediction.known
        scores, is_up = prediction.scores[known], prediction.is_gold[known]
        names = ("with the label", "without the label")
        caption = "Scores of every label, for texts with the label (up) and without it (down)."
        axis = "score"
    edges = np.linspace(0, 1, _HISTOGRAM_BARS + 1)
    clipped = np.clip(scores, 0, 1)
    up, down = (
        Bars(name, np.histogram(clipped[mask], edges)[0].tolist(), style)
        for name, mask, style in zip(names, (is_up, ~is_up), ("s1", "s2"), strict=True)
    )
    return Chart(
        title="Scores",
        caption=f"{caption} The two directions have different scales.",
        svg=charts.bar_chart(
            up, down, title=f"Histogram of scores: {names[0]}, {names[1]}", name=axis
        ),
    )


def _selective_chart(evaluation: Evaluation) -> Chart:
    found = evaluation.selective
    curve, accuracies = found.curve, found.accuracies
    step = max(len(curve.coverage) // _CURVE_POINTS, 1)
    points = [*zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True)]
    # From the other end, so that the point of all texts is kept.
    line = Line("error rate", points[::-1][::step][::-1])
    marks = []
    if found.coverage is not None and found.accuracy is not None:
        chosen = (found.coverage.found, 1.0 - found.accuracy.found)
        marks.append(Line("chosen threshold", [chosen], "s2", marked=True))
    caption = (
        "Error rate if only the texts with the highest confidence are answered, by their share of "
        f"all texts (area under the curve: {curve.area:.4f})."
    )
    return Chart(
        title="Risk and coverage",
        caption=" ".join([caption, *_describe_promises(evaluation)]),
        svg=charts.line_chart(
            [line, *marks],
            title="Risk-coverage curve: error rate by share of answered texts",
            x=charts.unit_axis("share answered"),
            y=charts.nice_axis("error rate", curve.risk.tolist()),
        ),
        legend=[(each.style, each.name) for each in (line, *marks)] if marks else (),
        header=("Share answered", "Accuracy"),
        rows=[(share, format_score(value)) for share, value in accuracies.items()],
    )


def _describe_promises(evaluation: Evaluation) -> Iterator[str]:
    """Sentences on what the classifier promised, and on what it kept."""
    found = evaluation.selective
    if found.coverage is not None and found.accuracy is not None:
        yield (
            f"The classifier answers {found.coverage.found:.1%} of the texts; "
            f"{_describe_promise(found.accuracy)} of the answers are correct."
        )
    if found.set_coverage is not None:
        yield (
            f"Its label sets have {found.set_size:.1f} labels on average; "
            f"{_describe_promise(found.set_coverage)} of the true labels are in them."
        )


def _describe_promise(promise: Promise) -> str:
    low, high = promise.interval
    return f"{promise.found:.1%} (95% CI {low:.1%} to {high:.1%}; promised: {promise.promised:.1%})"


def _precision_recall_chart(evaluation: Evaluation) -> Chart:
    """A curve per label. If there are many, only those with the lowest scores are colored."""
    rows = [each for each in evaluation.label_scores if each.average_precision is not None]
    rows.sort(key=attrgetter("average_precision"))
    named = rows[: len(_STYLES) - 1]
    curves = {
        each.label: metrics.precision_recall_curve(
            evaluation.prediction, evaluation.labels.index(each.label)
        )
        for each in rows
    }
    lines = [Line(each.label, curves[each.label], "faint") for each in rows[len(named) :]]
    legend = []
    for style, each in zip(_STYLES[1:], named, strict=False):
        lines.append(Line(each.label, curves[each.label], style))
        legend.append((style, f"{each.label} ({format_score(each.average_precision)})"))
    lines.append(Line("all labels", metrics.precision_recall_curve(evaluation.prediction), "s1"))
    legend.insert(0, ("s1", "all labels, pooled"))
    others = len(rows) - len(named)
    if others:
        legend.append(("faint", plural(others, "other label")))
    return Chart(
        title="Precision and recall",
        caption="Precision at each recall as the decision threshold falls. Average precision in "
        "parentheses, lowest first.",
        svg=charts.line_chart(
            lines,
            title="Precision-recall curves",
            x=charts.unit_axis("recall"),
            y=charts.unit_axis("precision"),
        ),
        legend=legend,
    )


def _learning_charts(history: Sequence[Mapping[str, Any]], metric: str) -> list[Chart]:
    points = [row for row in history if _is_number(row.get("epoch"))]
    if not points:
        return []
    x = charts.nice_axis("epoch", [row["epoch"] for row in points])
    # The score is the value of the metric that decides: usually macro F or micro F.
    others = [key for key in ("accuracy", "cats_macro_f") if key != metric]
    names = {"score": metric_name(metric)} | {key: metric_name(key) for key in others}
    curves = {
        key: [(r["epoch"], r[key]) for r in points if _is_number(r.get(key))] for key in names
    }
    lines = [
        Line(names[key], curve, style, marked=True)
        for style, (key, curve) in zip(_STYLES, curves.items(), strict=False)
        if curve
    ]
    losses = [(row["epoch"], row["loss"]) for row in points if _is_number(row.get("loss"))]
    keys = ["step", "epoch", "loss", *names]
    return [
        Chart(
            title="Training: dev scores",
            caption="Scores on the dev set during training. Checkpoints are compared by "
            f"{names['score']}.",
            svg=charts.line_chart(
                lines,
                title=f"Dev scores by epoch: {', '.join(line.name for line in lines)}",
                x=x,
                y=charts.unit_axis("score on the dev set"),
            ),
            legend=[(line.style, line.name) for line in lines],
            header=[
                "Step",
                "Epoch",
                "Loss",
                *(f"{each[0].upper()}{each[1:]}" for each in names.values()),
            ],
            rows=[[_plain(row.get(key)) for key in keys] for row in points],
        ),
        Chart(
            title="Training: loss",
            caption="Mean training loss since the previous evaluation.",
            svg=charts.line_chart(
                [Line("loss", losses, marked=True)],
                title="Training loss by epoch",
                x=x,
                y=charts.nice_axis("loss", [loss for _, loss in losses]),
            ),
        ),
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else "–"


def format_score(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"
