"""The evaluation report: one self-contained HTML page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import srsly
from markupsafe import Markup

from trfcli_pipeline.data.records import Record
from trfcli_pipeline.data.wording import plural
from trfcli_pipeline.errors import DataError, one_line
from trfcli_pipeline.evaluation.explanation import Explanation
from trfcli_pipeline.evaluation.mistakes import Mistake
from trfcli_pipeline.evaluation.pages import is_page, page_environment, render_page
from trfcli_pipeline.evaluation.report_charts import draw_charts, format_score
from trfcli_pipeline.evaluation.results import Evaluation

HISTORY = "training.jsonl"

_COMMAND = "trf evaluate"

_SHOWN_CONFUSIONS = 30
_SHOWN_MISTAKES = 2000
_SHOWN_TEXT = 600
# With this many labels, the names above the matrix are vertical and its cells are smaller.
_MANY_LABELS = 8
# With this many, the cells are as narrow as their numbers, so that 77 labels fit on a wide screen.
_DENSE_LABELS = 35


def read_history(model: Path | None) -> list[dict[str, Any]]:
    """Read the training history from a model's directory.

    Returns:
        One JSON object per evaluation on the dev set, in order; an empty list if there is no
        history.

    Raises:
        DataError: The file can't be read.
    """
    path = None if model is None else model / HISTORY
    if path is None or not path.is_file():
        return []
    hint = "Remove the file to leave the charts of the training out"
    try:
        history = list(srsly.read_jsonl(path))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: {one_line(error)}", hint=hint) from error
    if not all(isinstance(row, dict) for row in history):
        raise DataError(f"{path}: not a JSON object in each line", hint=hint)
    return history


def is_report(path: Path) -> bool:
    """Whether a file is a page that `render_report` has rendered."""
    return is_page(path, _COMMAND)


def render_report(
    evaluation: Evaluation,
    records: Sequence[Record],
    *,
    model: str,
    pipeline: str,
    data: str,
    history: Sequence[Mapping[str, Any]] = (),
    metric: str = "score",
    explanations: Mapping[int, Explanation] | None = None,
) -> str:
    """Render an evaluation as an HTML page.

    Args:
        records: All evaluated texts, in order.
        model: Name or directory of the pipeline, as the user gave it.
        pipeline: Name and version of the pipeline.
        data: Name of the data file.
        history: The evaluations during training: "step", "epoch" and the scores; see
            `read_history`.
        metric: Key of the metric that checkpoints were chosen by, whose values are the scores.
        explanations: Explanations of mistakes, by the indices of their texts.
    """
    environment = page_environment()
    environment.filters.update(svg=Markup, score=format_score, breakable=_breakable)
    environment.globals["plural"] = plural
    explained = explanations or {}
    shown = evaluation.mistakes[::-1][:_SHOWN_MISTAKES]
    return render_page(
        environment,
        "report.html",
        command=_COMMAND,
        styles=["report.css"],
        script="report.js",
        styled_attributes=True,
        model=model,
        pipeline=pipeline,
        data=data,
        evaluation=evaluation,
        charts=draw_charts(evaluation, history, metric),
        matrix=_matrix(evaluation),
        matrix_class=_matrix_class(len(evaluation.labels)),
        confusions=evaluation.confusions[:_SHOWN_CONFUSIONS],
        mistakes=[
            _mistake(each, records, evaluation.labels, explained.get(each.index)) for each in shown
        ],
        n_explained=len(explained),
        shown_text=_SHOWN_TEXT,
    )


def _matrix_class(n_labels: int) -> str:
    if n_labels >= _DENSE_LABELS:
        return "matrix many dense"
    return "matrix many" if n_labels >= _MANY_LABELS else "matrix"


def _matrix(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Rows of the confusion matrix: label, number of texts, and count and share of each cell."""
    rows = []
    for label, counts in zip(evaluation.labels, evaluation.confusion_matrix or (), strict=False):
        total = sum(counts)
        cells = [(count, count / total if total else 0.0) for count in counts]
        rows.append({"label": label, "total": total, "cells": cells})
    return rows


def _mistake(
    mistake: Mistake,
    records: Sequence[Record],
    labels: Sequence[str],
    explanation: Explanation | None,
) -> dict[str, Any]:
    record = records[mistake.index]
    text = record.text
    return {
        **asdict(mistake),
        "line": record.line,
        "text": text if len(text) <= _SHOWN_TEXT else f"{text[:_SHOWN_TEXT]}…",
        "explanation": explanation,
        "gold_columns": [labels.index(each) for each in mistake.gold],
        "predicted_columns": [labels.index(each) for each in mistake.predicted],
    }


def _breakable(name: str) -> Markup:
    """A name with line-break opportunities between its words, as in "card_not_working"."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/.:])(?=\w)", name))
