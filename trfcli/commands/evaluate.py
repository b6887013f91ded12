"""`trf evaluate`: how good a pipeline's text classifier is on labelled texts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console
from trfcli.options import BatchSizeOption, DeviceOption, JsonOption, ModelArgument

if TYPE_CHECKING:
    from trfcli_pipeline.corpus import Record
    from trfcli_pipeline.scores import Evaluation

_SHOWN_MISTAKES = 5
_SHOWN_TEXT = 60
# A confusion matrix of more labels fits no terminal.
_MATRIX_LABELS = 12


def evaluate(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Labelled texts; - for JSONL on stdin.", show_default=False
        ),
    ],
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
    as_json: JsonOption = False,
    threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="SCORE", help="Score from which one of several labels holds."
        ),
    ] = 0.5,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
) -> None:
    """Score a pipeline's text classifier on labelled texts.

    Example:
      trf evaluate ./model test.jsonl
      trf evaluate ./model test.csv --output metrics.json
    """
    from trfcli_pipeline import evaluation
    from trfcli_pipeline.corpus import read_records
    from trfcli_pipeline.dataset import complete_cats
    from trfcli_pipeline.pipelines import load_pipeline

    if output is not None:
        check_file(output)
    records = read_records(data, labelled=True)
    nlp = load_pipeline(model, device=device)
    classifier = evaluation.find_classifier(nlp)
    gold = [
        {**complete_cats(record, classifier.labels, classifier.exclusive), **(record.cats or {})}
        for record in records
    ]
    result = evaluation.evaluate(
        nlp,
        [record.text for record in records],
        gold,
        component=classifier.name,
        threshold=threshold,
        batch_size=batch_size or nlp.batch_size,
    )
    metrics = json.dumps(result.metrics(), indent=2, ensure_ascii=False)
    if output is not None:
        output.write_text(f"{metrics}\n", encoding="utf8")
        console.good(f"Wrote {output}")
    if as_json:
        console.data(metrics)
    else:
        show(result, records)


def check_file(path: Path) -> None:
    """Refuse an output that can't be a file now, rather than after minutes of work."""
    from trfcli_pipeline.errors import OutputError

    if path.is_dir():
        raise OutputError(f"{path}: a directory, not a file", hint="Name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: there is no such directory")


def show(result: "Evaluation", records: "list[Record]") -> None:
    """Print the scores, the table of labels, the confusion matrix and the closest mistakes."""
    console.data(
        f" {console.plural(result.n_texts, 'text')}, "
        f"{console.plural(result.n_words or 0, 'word')}, "
        f"{console.thousands(result.speed or 0)} words/s"
    )
    low, high = result.accuracy_interval
    auc = "not defined" if result.macro_auc is None else f"{result.macro_auc:.3f}"
    console.data(
        f" accuracy {result.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f})    "
        f"macro F {result.macro_f:.3f}    macro AUC {auc}    "
        f"calibration error {result.ece:.3f}"
    )
    console.data_table(
        ("label", "precision", "recall", "F", "texts"),
        [
            (
                row.label,
                f"{row.precision:.3f}",
                f"{row.recall:.3f}",
                f"{row.f:.3f}",
                console.thousands(row.support),
            )
            for row in result.label_scores
        ],
    )
    if result.confusion_matrix is not None and len(result.labels) <= _MATRIX_LABELS:
        console.data_table(
            ("", *(f"predicted {label}" for label in result.labels)),
            [
                (f"is {label}", *(console.thousands(count) for count in counts))
                for label, counts in zip(result.labels, result.confusion_matrix, strict=True)
            ],
        )
    if result.mistakes:
        console.data(" Least sure mistakes:")
    for mistake in result.mistakes[:_SHOWN_MISTAKES]:
        record = records[mistake.index]
        text = console.printable(" ".join(record.text.split()))
        shown = text if len(text) <= _SHOWN_TEXT else f"{text[: _SHOWN_TEXT - 1]}…"
        console.data(
            f'  line {record.line} "{shown}" is {" + ".join(mistake.gold) or "none"}, '
            f"said {' + '.join(mistake.predicted) or 'none'} "
            f"({mistake.label} {mistake.score:.2f})"
        )
