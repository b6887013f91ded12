"""The charts of an evaluation's report, each with what a reader needs to understand it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trfcli_pipeline.evaluation import charts, metrics
from trfcli_pipeline.evaluation.calibration import confidences
from trfcli_pipeline.evaluation.charts import Bars, Line
from trfcli_pipeline.evaluation.scores import Evaluation, LabelScore

_HISTOGRAM_BARS = 20
# Lines of which each can be told from the others.
_STYLES = ("s1", "s2", "s3", "s4", "s5", "s6")


@dataclass(frozen=True)
class Chart:
    """A chart with what a reader needs to understand it.

    Attributes:
        legend: Style and name of each line.
        header, rows: The same numbers as a table, if they are few.
    """

    title: str
    caption: str
    svg: str
    legend: Sequence[tuple[str, str]] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())


def draw_charts(evaluation: Evaluation, history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    return [
        _reliability_chart(evaluation),
        _histogram_chart(evaluation),
        _precision_recall_chart(evaluation),
        *_learning_charts(history),
    ]


def _reliability_chart(evaluation: Evaluation) -> Chart:
    bins = [each for each in evaluation.reliability if each.n]
    decision = "text" if evaluation.exclusive_classes else "label of a text"
    return Chart(
        title="Reliability",
        caption=f"Each {decision} is one decision. On the diagonal, the share of right decisions "
        "equals the confidence; below it, the classifier is too sure.",
        svg=charts.line_chart(
            [Line("Right decisions", [(b.confidence, b.right) for b in bins], marked=True)],
            title="Reliability curve: share of right decisions by confidence",
            x=charts.unit_axis("confidence"),
            y=charts.unit_axis("share right"),
            guide=True,
        ),
        header=("Confidence", "EvalPrediction", "Mean", "Right"),
        rows=[
            (
                f"{b.low:.1f} to {b.high:.1f}",
                f"{b.n:,}",
                format_score(b.confidence),
                format_score(b.right),
            )
            for b in bins
        ],
    )


def _histogram_chart(evaluation: Evaluation) -> Chart:
    decisions = evaluation.decisions
    if evaluation.exclusive_classes:
        scores, is_up = confidences(decisions)
        names = ("right", "wrong")
        caption = "The highest score of each text, for those classified rightly and wrongly."
        axis = "highest score"
    else:
        scores, is_up = decisions.predicted[decisions.known], decisions.is_gold[decisions.known]
        names = ("labels that hold", "labels that don't")
        caption = "Every score of every text, for labels that hold and for labels that don't."
        axis = "score"
    edges = np.linspace(0, 1, _HISTOGRAM_BARS + 1)
    clipped = np.clip(scores, 0, 1)
    up, down = (
        Bars(name, np.histogram(clipped[mask], edges)[0].tolist(), style)
        for name, mask, style in zip(names, (is_up, ~is_up), ("s1", "s2"), strict=True)
    )
    return Chart(
        title="Scores",
        caption=f"{caption} Up and down each have a scale of their own.",
        svg=charts.bar_chart(
            up, down, title=f"Histogram of scores: {names[0]}, {names[1]}", name=axis
        ),
    )


def _precision_recall_chart(evaluation: Evaluation) -> Chart:
    """All labels where they can be told apart; else all faintly, and those with the lowest area."""
    rows = [each for each in evaluation.label_scores if each.average_precision is not None]
    rows.sort(key=_average_precision)
    named = rows[: len(_STYLES) - 1]
    curves = {
        each.label: metrics.precision_recall_curve(
            evaluation.decisions, evaluation.labels.index(each.label)
        )
        for each in rows
    }
    lines = [Line(each.label, curves[each.label], "faint") for each in rows[len(named) :]]
    legend = []
    for style, each in zip(_STYLES[1:], named, strict=False):
        lines.append(Line(each.label, curves[each.label], style))
        legend.append((style, f"{each.label} ({format_score(each.average_precision)})"))
    lines.append(Line("all labels", metrics.precision_recall_curve(evaluation.decisions), "s1"))
    legend.insert(0, ("s1", "all labels together"))
    others = len(rows) - len(named)
    if others:
        legend.append(("faint", f"{others} other label{'' if others == 1 else 's'}"))
    return Chart(
        title="Precision and recall",
        caption="What precision is left at each recall, as the threshold falls. In brackets the "
        "average precision, lowest first.",
        svg=charts.line_chart(
            lines,
            title="Precision-recall curves",
            x=charts.unit_axis("recall"),
            y=charts.unit_axis("precision"),
        ),
        legend=legend,
    )


def _learning_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    points = [row for row in history if _is_number(row.get("epoch"))]
    if not points:
        return []
    x = charts.nice_axis("epoch", [row["epoch"] for row in points])
    names = {"accuracy": "accuracy", "cats_macro_f": "macro F", "score": "score"}
    curves = {
        key: [(r["epoch"], r[key]) for r in points if _is_number(r.get(key))] for key in names
    }
    if curves["score"] in (curves["accuracy"], curves["cats_macro_f"]):
        # What the best state is chosen by, as a rule, is one of the two.
        curves["score"] = []
    lines = [
        Line(names[key], curve, style, marked=True)
        for style, (key, curve) in zip(_STYLES, curves.items(), strict=False)
        if curve
    ]
    losses = [(row["epoch"], row["loss"]) for row in points if _is_number(row.get("loss"))]
    keys = ["step", "epoch", "loss", *names]
    return [
        Chart(
            title="Learning: scores",
            caption="Scores on the dev texts while the model was trained. The state with the best "
            "score was kept, or the last one if that was behind by chance at most.",
            svg=charts.line_chart(lines, title="Scores by epoch", x=x, y=charts.unit_axis("score")),
            legend=[(line.style, line.name) for line in lines],
            header=["Step", "Epoch", "Loss", "Accuracy", "Macro F", "Score"],
            rows=[[_plain(row.get(key)) for key in keys] for row in points],
        ),
        Chart(
            title="Learning: loss",
            caption="Mean loss of the training steps since the evaluation before.",
            svg=charts.line_chart(
                [Line("loss", losses, marked=True)],
                title="Training loss by epoch",
                x=x,
                y=charts.nice_axis("loss", [loss for _, loss in losses]),
            ),
        ),
    ]


def _average_precision(score: LabelScore) -> float:
    return score.average_precision or 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else "–"


def format_score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
