"""`trf evaluate`: how good a pipeline's text classifier is on labelled texts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    BatchSizeOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    ModelArgument,
    ThresholdOption,
)

if TYPE_CHECKING:
    from trfcli_pipeline.data.records import Record
    from trfcli_pipeline.evaluation.results import Evaluation, Mistake

_SHOWN_CONFUSIONS = 10
_SHOWN_MISTAKES = 3
_SHOWN_TEXT = 60
# A confusion matrix of more labels is hard to read.
_MATRIX_LABELS = 12


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the metrics to a JSON file, too.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a report for the browser, too: charts, and the mistakes, on one page.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
) -> None:
    """Score a pipeline's text classifier on labelled texts.

    Example:
      trf evaluate ./model test.jsonl
      trf evaluate ./model test.csv --output metrics.json --html report.html
    """
    from trfcli_pipeline.data import atomic
    from trfcli_pipeline.data.records import read_records
    from trfcli_pipeline.evaluation import evaluate as scoring
    from trfcli_pipeline.evaluation import report
    from trfcli_pipeline.evaluation.classifier import find_classifier, gold_cats
    from trfcli_pipeline.pipeline.loading import load_pipeline

    for path in (output, html):
        if path is not None:
            atomic.check_file(path)
    records = read_records(data, labelled=True)
    nlp = load_pipeline(model, device=device)
    classifier = find_classifier(nlp)
    gold = gold_cats(records, classifier, name=data)
    history = [] if html is None else report.read_history(nlp.path)
    result = scoring.evaluate(
        nlp,
        [record.text for record in records],
        gold,
        component=classifier.name,
        threshold=threshold,
        batch_size=batch_size or nlp.batch_size,
    )
    metrics = json.dumps(result.metrics(), indent=2, ensure_ascii=False)
    if output is not None:
        atomic.write_text(output, f"{metrics}\n")
        console.good(f"Wrote {output}")
    if html is not None:
        pipeline = f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"
        origin = report.Origin(model, pipeline, data, history)
        atomic.write_text(html, report.render_report(result, records, origin))
        console.good(f"Wrote {html}")
    if as_json:
        console.data(metrics)
    else:
        show(result, records)


def show(result: "Evaluation", records: "Sequence[Record]") -> None:
    """Print the scores, the table of labels, what was confused, and some mistakes."""
    console.data_line(
        f"{wording.plural(result.n_texts, 'text')}, "
        f"{wording.plural(result.n_words or 0, 'word')}, "
        f"{wording.thousands(result.speed or 0)} words/s"
    )
    show_headline(result)
    show_labels(result)
    if result.confusion_matrix is not None and _has_room_for_matrix(result.labels):
        console.data_table(
            ("", *(f"predicted {label}" for label in result.labels)),
            [
                (f"is {label}", *(wording.thousands(count) for count in counts))
                for label, counts in zip(result.labels, result.confusion_matrix, strict=True)
            ],
        )
    elif result.confusions:
        console.data_line("Most frequent confusions:")
        console.data_table(
            ("is", "predicted", "texts"),
            [
                (each.gold, each.predicted, wording.thousands(each.texts))
                for each in result.confusions[:_SHOWN_CONFUSIONS]
            ],
            left=2,
        )
    surest = result.mistakes[::-1][:_SHOWN_MISTAKES]
    show_mistakes("Surest mistakes", surest, records)
    least_sure = result.mistakes[: len(result.mistakes) - len(surest)][:_SHOWN_MISTAKES]
    show_mistakes("Least sure mistakes", least_sure, records)


def _has_room_for_matrix(labels: "Sequence[str]") -> bool:
    """Whether it is small enough to read, and no word of its headers has to be broken."""
    words = [max(len(word) for word in ("predicted", *label.split())) for label in labels]
    room = console.data_width() - max(map(len, labels)) - len("is ")
    return len(labels) <= _MATRIX_LABELS and sum(words) + len(words) <= room


def show_headline(result: "Evaluation") -> None:
    """Print the figures for all labels together."""
    accuracy = f"accuracy {result.accuracy:.3f} (95 % interval {_interval(result, 'accuracy')})"
    macro = f"macro F {result.macro_f:.3f} ({_interval(result, 'cats_macro_f')})"
    figures = [accuracy, macro]
    if not result.exclusive_classes:
        # With exclusive classes it is the accuracy.
        figures.append(f"micro F {result.micro_f:.3f} ({_interval(result, 'cats_micro_f')})")
    console.data_line(*figures)
    console.data_line(
        f"macro AUC {_defined(result.macro_auc)}",
        f"average precision {_defined(result.macro_average_precision)}",
        f"MCC {result.mcc:.3f}",
        f"calibration error {result.ece:.3f}",
    )
    match result.threshold:
        case float(threshold):
            console.data_line(f"A label holds from a score of {threshold:g} on.")
        case dict(thresholds):
            low, high = min(thresholds.values()), max(thresholds.values())
            console.data_line(f"A label holds from its own score on: {low:g} to {high:g}.")


def show_labels(result: "Evaluation") -> None:
    """Print a row for each label, and the averages below them."""
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


def show_mistakes(title: str, mistakes: "Sequence[Mistake]", records: "Sequence[Record]") -> None:
    """Print some texts, with what they are and what they were said to be."""
    if mistakes:
        console.data_line(f"{title}:")
    for mistake in mistakes:
        record = records[mistake.index]
        console.data_line(
            f'line {record.line} "{excerpt(record.text)}" is {joined(mistake.gold)}, '
            f"said {answer(mistake)}",
            indent=2,
        )


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    text = console.printable(" ".join(text.split()))
    return text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 1]}…"


def answer(mistake: "Mistake") -> str:
    """What was said, and the score of the decision to look at: "HAM 0.53", "A + B (C 0.41)"."""
    said, score = joined(mistake.predicted), f"{mistake.score:.2f}"
    if mistake.predicted == (mistake.label,):
        return f"{said} {score}"
    return f"{said} ({mistake.label} {score})"


def joined(labels: Sequence[str]) -> str:
    return " + ".join(labels) or "none"


def _interval(result: "Evaluation", name: str) -> str:
    low, high = result.intervals[name]
    return f"{low:.3f} to {high:.3f}"


def _defined(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
