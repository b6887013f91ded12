"""An evaluation as one page for the browser, which needs nothing beside it."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from trfcli_pipeline import charts, metrics
from trfcli_pipeline.calibration import confidences
from trfcli_pipeline.charts import Bars, Line
from trfcli_pipeline.corpus import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.scores import Evaluation, LabelScore, Mistake

__all__ = ["Origin", "read_history", "render_report"]

HISTORY = "training.jsonl"

_HISTOGRAM_BARS = 20
# Lines of which each can be told from the others.
_STYLES = ("s1", "s2", "s3", "s4", "s5", "s6")
_SHOWN_CONFUSIONS = 30
_SHOWN_MISTAKES = 2000
_SHOWN_TEXT = 600
# From so many labels on, their names stand upright above the matrix, and its cells are smaller.
_MANY_LABELS = 8


@dataclass(frozen=True)
class Origin:
    """What was evaluated.

    Attributes:
        model: Name or directory of the pipeline, as it was given.
        pipeline: The pipeline's own name and version.
        data: Name of the file with the texts.
        history: Evaluations during training: "step", "epoch" and the scores; see `read_history`.
    """

    model: str
    pipeline: str
    data: str
    history: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Figure:
    """A headline figure.

    Attributes:
        interval: Its 95 % interval, as text.
    """

    name: str
    value: str
    interval: str | None = None


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


def read_history(model: Path | None) -> list[dict[str, Any]]:
    """What training wrote down in a model's directory: one JSON object for each evaluation.

    Returns:
        The objects in order; none if the directory has no such file.

    Raises:
        DataError: The file can't be read.
    """
    path = None if model is None else model / HISTORY
    if path is None or not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not valid JSON") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object")
        rows.append(row)
    return rows


def render_report(evaluation: Evaluation, records: Sequence[Record], origin: Origin) -> str:
    """The page, as HTML.

    Args:
        records: All texts that were given, in order.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trfcli_pipeline"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    environment.filters["swatch"] = _swatch
    environment.filters["score"] = _score
    # Styles and script are ours, and not to be escaped.
    style, script = (
        Markup(environment.get_template(name).render()) for name in ("report.css", "report.js")
    )
    shown = evaluation.mistakes[::-1][:_SHOWN_MISTAKES]
    page = environment.get_template("report.html").render(
        origin=origin,
        evaluation=evaluation,
        figures=_figures(evaluation),
        charts=_charts(evaluation, origin),
        matrix=_matrix(evaluation),
        many_labels=len(evaluation.labels) >= _MANY_LABELS,
        confusions=evaluation.confusions[:_SHOWN_CONFUSIONS],
        mistakes=[_mistake(each, records, evaluation.labels) for each in shown],
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    # A directory's name may hold bytes that aren't UTF-8.
    return page.encode("utf8", errors="replace").decode("utf8")


def _figures(evaluation: Evaluation) -> list[Figure]:
    intervals = {
        name: f"{low:.3f} to {high:.3f}" for name, (low, high) in evaluation.intervals.items()
    }
    figures = [
        Figure("Accuracy", _score(evaluation.accuracy), intervals["accuracy"]),
        Figure("Macro F", _score(evaluation.macro_f), intervals["cats_macro_f"]),
        Figure("Weighted F", _score(evaluation.weighted["weighted_f"])),
        Figure("Macro AUC", _score(evaluation.macro_auc)),
        Figure("Average precision", _score(evaluation.macro_average_precision)),
        Figure("Matthews correlation", _score(evaluation.mcc)),
        Figure("Calibration error", _score(evaluation.ece)),
    ]
    if not evaluation.exclusive_classes:
        # With exclusive classes it is the accuracy.
        figures.insert(2, Figure("Micro F", _score(evaluation.micro_f), intervals["cats_micro_f"]))
    if evaluation.speed is not None:
        figures.append(Figure("Words per second", f"{evaluation.speed:,.0f}"))
    return figures


def _matrix(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rows of the confusion matrix: the label, its texts, and each cell's count and share."""
    rows = []
    for label, counts in zip(evaluation.labels, evaluation.confusion_matrix or (), strict=False):
        total = sum(counts)
        cells = [(count, count / total if total else 0.0) for count in counts]
        rows.append({"label": label, "total": total, "cells": cells})
    return rows


def _mistake(mistake: Mistake, records: Sequence[Record], labels: Sequence[str]) -> dict[str, Any]:
    record = records[mistake.index]
    text = record.text
    return {
        "line": record.line,
        "text": text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…",
        "gold": mistake.gold,
        "predicted": mistake.predicted,
        "label": mistake.label,
        "score": mistake.score,
        "gold_columns": [labels.index(each) for each in mistake.gold],
        "predicted_columns": [labels.index(each) for each in mistake.predicted],
    }


def _charts(evaluation: Evaluation, origin: Origin) -> list[Chart]:
    return [
        _reliability_chart(evaluation),
        _histogram_chart(evaluation),
        _precision_recall_chart(evaluation),
        *_learning_charts(origin.history),
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
        header=("Confidence", "Decisions", "Mean", "Right"),
        rows=[
            (f"{b.low:.1f} to {b.high:.1f}", f"{b.n:,}", _score(b.confidence), _score(b.right))
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
        legend.append((style, f"{each.label} ({_score(each.average_precision)})"))
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
            "score was kept.",
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


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _swatch(style: str) -> Markup:
    return Markup(charts.swatch(style))
