"""An evaluation as one page for the browser, which needs nothing beside it."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.errors import DataError
from trfcli_pipeline.evaluation import charts
from trfcli_pipeline.evaluation.report_charts import draw_charts, format_score
from trfcli_pipeline.evaluation.scores import Evaluation, Mistake

__all__ = ["Origin", "read_history", "render_report"]

HISTORY = "training.jsonl"

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
        loader=jinja2.PackageLoader("trfcli_pipeline.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    environment.filters["swatch"] = _swatch
    environment.filters["score"] = format_score
    environment.filters["breakable"] = _breakable
    # Styles and script are ours, and not to be escaped.
    style, script = (
        Markup(environment.get_template(name).render()) for name in ("report.css", "report.js")
    )
    shown = evaluation.mistakes[::-1][:_SHOWN_MISTAKES]
    page = environment.get_template("report.html").render(
        origin=origin,
        evaluation=evaluation,
        figures=_figures(evaluation),
        charts=draw_charts(evaluation, origin.history),
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
        Figure("Accuracy", format_score(evaluation.accuracy), intervals["accuracy"]),
        Figure("Macro F", format_score(evaluation.macro_f), intervals["cats_macro_f"]),
        Figure("Weighted F", format_score(evaluation.weighted["weighted_f"])),
        Figure("Macro AUC", format_score(evaluation.macro_auc)),
        Figure("Average precision", format_score(evaluation.macro_average_precision)),
        Figure("Matthews correlation", format_score(evaluation.mcc)),
        Figure("Calibration error", format_score(evaluation.ece)),
    ]
    if not evaluation.exclusive_classes:
        # With exclusive classes it is the accuracy.
        figures.insert(
            2, Figure("Micro F", format_score(evaluation.micro_f), intervals["cats_micro_f"])
        )
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


def _breakable(name: str) -> Markup:
    """A name that a browser may divide between its words, such as those of "card_not_working"."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/.:])(?=\w)", name))


def _swatch(style: str) -> Markup:
    return Markup(charts.swatch(style))
