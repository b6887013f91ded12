"""`trf evaluate`: score a pipeline's text classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    BatchSizeOption,
    DataArgument,
    DataSet,
    DeviceOption,
    JsonOption,
    ModelArgument,
    ThresholdOption,
    html_option,
    output_option,
)

if TYPE_CHECKING:
    from trfcli_pipeline.data.records import Record
    from trfcli_pipeline.evaluation.promises import Promise
    from trfcli_pipeline.evaluation.results import Evaluation

_SHOWN_CONFUSIONS = 10
_SHOWN_MISTAKES = 3
_VERDICTS = {"kept": "kept", "chance": "may be chance", "broken": "not kept"}
# Of fewer texts, half or a tenth says nothing.
_FEWEST_ANSWERS = 20
# A larger confusion matrix is hard to read.
_MATRIX_LABELS = 12
# Columns of a terminal below which the shares of answered texts are in rows.
_NARROW = 52


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    output: Annotated[
        Path | None,
        output_option(help="Also write the metrics to a JSON file."),
    ] = None,
    html: Annotated[
        Path | None,
        html_option(help="Also write a report: an HTML page with charts and all mistakes."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Highlight what the most confident mistakes in the report are due to."
        ),
    ] = False,
    as_json: JsonOption = False,
    threshold: ThresholdOption = None,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Score a pipeline's text classifier on labeled texts.

    Example:
      trf evaluate ./model test.jsonl
      trf evaluate ./model test.csv --html report.html
    """
    from trfcli_pipeline.tasks import evaluate as task

    result, records = task.evaluate(
        model,
        DataSet.joined(data),
        output=output,
        html=html,
        explain=explain,
        threshold=threshold,
        device=device,
        batch_size=batch_size,
    )
    for path in (output, html):
        if path is not None:
            console.if_interrupted(f"{path} was already saved")
            console.good(f"Wrote {path}")
    if as_json:
        console.data_json(result.metrics())
    else:
        show(result, records)


def show(result: "Evaluation", records: "Sequence[Record]") -> None:
    """Print the scores, a table of the labels, the confusions, some mistakes, and a summary."""
    from trfcli.rendering.mistakes import print_mistakes

    console.data_line(
        f"{wording.plural(result.n_texts, 'text')}, "
        f"{wording.plural(result.n_words or 0, 'word')}, "
        f"{wording.thousands(result.speed or 0)} words/s"
    )
    show_headline(result)
    show_labels(result)
    matrix = result.confusion_matrix
    if matrix is not None and _has_room(result.labels, matrix):
        console.data_line("Rows: true label. Columns: predicted label.")
        console.data_table(
            ("", *result.labels),
            [
                (label, *(wording.thousands(count) for count in counts))
                for label, counts in zip(result.labels, matrix, strict=True)
            ],
        )
    elif result.confusions:
        console.data_line("Most frequent confusions:")
        console.data_table(
            ("true label", "predicted", "texts"),
            [
                (each.gold, each.predicted, wording.thousands(each.texts))
                for each in result.confusions[:_SHOWN_CONFUSIONS]
            ],
            left=2,
        )
    if result.n_scored >= _FEWEST_ANSWERS:
        show_selective(result)
    # `mistakes` starts with the least confident.
    most = result.mistakes[::-1][:_SHOWN_MISTAKES]
    print_mistakes("Most confident mistakes", most, records)
    least = result.mistakes[: len(result.mistakes) - len(most)][:_SHOWN_MISTAKES]
    print_mistakes("Least confident mistakes", least, records)
    console.data_line(result.summary)


def _has_room(labels: "Sequence[str]", matrix: "Sequence[Sequence[int]]") -> bool:
    """Whether a confusion matrix is small enough to read, without breaking words of its headers."""
    widths = [
        max(map(len, (*label.split(), *map(wording.thousands, counts))))
        for label, counts in zip(labels, zip(*matrix, strict=True), strict=True)
    ]
    room = console.data_width() - max(map(len, labels))
    return len(labels) <= _MATRIX_LABELS and sum(widths) + len(widths) <= room


def show_headline(result: "Evaluation") -> None:
    """Print the metrics over all labels."""
    metrics = [
        f"accuracy {result.accuracy:.3f}{_interval(result, 'accuracy', '95% CI ')}",
        f"macro F {result.macro_f:.3f}{_interval(result, 'cats_macro_f')}",
    ]
    if not result.exclusive_classes:
        # With exclusive classes, micro F equals the accuracy.
        metrics.append(f"micro F {result.micro_f:.3f}{_interval(result, 'cats_micro_f')}")
    console.data_line(*metrics)
    console.data_line(
        f"macro AUC {_defined(result.macro_auc)}",
        f"average precision {_defined(result.macro_average_precision)}",
        f"MCC {wording.decimal(result.mcc)}",
        f"calibration error {result.ece:.3f}",
    )
    match result.threshold:
        case float(threshold):
            console.data_line(f"Decision threshold: {threshold:g}")
        case dict(thresholds):
            low, high = min(thresholds.values()), max(thresholds.values())
            console.data_line(f"Decision thresholds: one per label, {low:g} to {high:g}")


def show_selective(result: "Evaluation") -> None:
    """Print the accuracy of the most confident answers, and whether promises were kept."""
    found = result.selective
    console.data_line("Accuracy if only the texts with the highest confidence are answered:")
    table = [
        ("share answered", *(f"{100 * float(share):.0f} %" for share in found.accuracies)),
        ("accuracy", *(f"{value:.3f}" for value in found.accuracies.values())),
    ]
    if console.data_width() < _NARROW:
        table = list(zip(*table, strict=True))
    console.data_table(table[0], table[1:])
    console.data_line(f"Area under the risk-coverage curve (AURC): {found.curve.area:.4f}")
    coverage, accuracy, sets = found.coverage, found.accuracy, found.set_coverage
    if coverage is not None and accuracy is not None:
        console.data_line(
            f"Answers {wording.percent(coverage.found)} of the texts, and is right in "
            f"{_promise(accuracy)}"
        )
    elif coverage is not None:
        console.data_line("Answers none of the texts")
    if sets is not None:
        console.data_line(
            f"Label sets, of {found.set_size:.1f} labels on average, have the true label in "
            f"{_promise(sets)}"
        )


def _promise(promise: "Promise") -> str:
    low, high = (wording.percent(value) for value in promise.interval)
    return (
        f"{wording.percent(promise.found)} of cases (95% CI {low} to {high}; promised "
        f"{wording.percent(promise.promised)}: {_VERDICTS[promise.verdict]})"
    )


def show_labels(result: "Evaluation") -> None:
    """Print a row for each label and each average."""
    rows = [(each.label, each.precision, each.recall, each.f) for each in result.label_scores]
    texts = [wording.thousands(each.support) for each in result.label_scores]
    averages = {"micro": result.cats, "macro": result.cats, "weighted": result.weighted}
    for name, scores in averages.items():
        prefix = name if name == "weighted" else f"cats_{name}"
        rows.append((f"{name} average", *(scores[f"{prefix}_{score}"] for score in "prf")))
        texts.append("")
    console.data_table(
        ("label", "precision", "recall", "F", "texts"),
        [
            (label, *(f"{value:.3f}" for value in values), number)
            for (label, *values), number in zip(rows, texts, strict=True)
        ],
    )


def _interval(result: "Evaluation", name: str, what: str = "") -> str:
    """The interval of a metric in parentheses; nothing if it has none."""
    if name not in result.intervals:
        return ""
    low, high = result.intervals[name]
    return f" ({what}{low:.3f} to {high:.3f})"


def _defined(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
