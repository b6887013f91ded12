"""`trf check`: find label errors and other problems in labeled texts."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    DataArgument,
    DataSet,
    DeviceOption,
    JsonOption,
    data_option,
    html_option,
    output_option,
    seed_option,
)

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.check_result import CheckResult

_SHOWN = 5


def check(
    data: DataArgument,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Encoder or pipeline by whose features texts are compared.",
        ),
    ] = "minilm",
    against: Annotated[
        DataSet | None,
        data_option(
            metavar="FILE",
            help="Look for copies of the texts of this file, such as a test set.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(
            help="Write the doubtful texts to a JSONL file, to correct their labels there."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        html_option(help="Write a page to go through the doubtful texts with the keyboard."),
    ] = None,
    as_json: JsonOption = False,
    number: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Texts to show of each kind."),
    ] = _SHOWN,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune",
            help="Fine-tune the encoder five times for the predictions: slower, more accurate.",
        ),
    ] = False,
    seed: Annotated[
        int,
        seed_option(help="Seed of the folds and of training."),
    ] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Find label errors, copies, outliers and confused labels in labeled texts.

    Example:
      trf check train.jsonl
      trf check train.csv --against test.csv --output corrections.jsonl --html check.html
    """
    from trfcli_pipeline.tasks import check as task
    from trfcli_pipeline.tasks import check_files

    result = task.check(
        DataSet.joined(data),
        model=model,
        against=against,
        output=output,
        html=html,
        finetune=finetune,
        seed=seed,
        device=device,
    )
    for warning in result.warnings:
        console.warn(warning)
    for path in (output, html):
        if path is not None:
            console.if_interrupted(f"{path} was already saved")
            console.good(f"Wrote {path}")
    if as_json:
        console.data_json(check_files.as_json(result))
        return
    show(result, number)
    for remark in result.remarks:
        console.warn(remark)
    _show_next(
        result, [source for each in data for source in each.sources], output=output, html=html
    )


def show(result: "CheckResult", number: int) -> None:
    """Print the counts, then the first of each kind of problem."""
    low, high = result.interval
    errors = (
        f"about {wording.thousands(result.n_errors)} "
        f"(95% CI {wording.thousands(low)} to {wording.thousands(high)})"
    )
    console.data_line(
        f"{wording.plural(len(result.records), 'text')}, "
        f"{wording.plural(len(result.labels), 'label')}",
        f"label errors: {errors if result.is_checked else 'unknown'}",
        f"to look at: {wording.thousands(len(result.doubtful))}",
    )
    counts = [
        result.disagreeing_pairs,
        f"{wording.plural(len(result.outliers), 'text')} unlike all others",
    ]
    if result.others:
        counts.append(f"{wording.plural(len(result.leaks), 'text')} also in the other file")
    console.data_line(*counts)
    if number:
        _show_doubtful(result, number)
        _show_copies(result, number)
        _show_outliers(result, number)
        _show_confusions(result, number)


def _show_doubtful(result: "CheckResult", number: int) -> None:
    from trfcli.rendering.mistakes import excerpt, join_labels

    # The others are copies with different labels, which are listed as such.
    wrong = [each for each in result.doubtful if each.is_wrong]
    if not wrong:
        return
    console.data_line("Labels that are probably wrong:")
    for each in wrong[:number]:
        record = result.records[each.index]
        console.data_line(
            f'{record.place} "{excerpt(record.text)}" is {join_labels(each.given)}, probably '
            f"{join_labels(each.suggested)} ({100 * each.doubt:.0f} %)",
            indent=2,
        )
        if each.nearest is not None:
            other = result.records[each.nearest]
            console.data_line(f'like {other.place} "{excerpt(other.text)}"', indent=4)


def _show_copies(result: "CheckResult", number: int) -> None:
    from trfcli.rendering.mistakes import excerpt, join_labels

    for title, pairs, others in (
        (
            f"{result.kinds_of_copies.capitalize()} with different labels",
            result.disagreements,
            result.records,
        ),
        ("Also in the other file", result.leaks, result.others),
    ):
        if pairs:
            console.data_line(f"{title}:")
        for pair in pairs[:number]:
            record, other = result.records[pair.index], others[pair.other]
            labels = ""
            if others is result.records:
                labels = (
                    f"{join_labels(sorted(record.labels))} and {join_labels(sorted(other.labels))}"
                )
            likeness = {"same": "same text", "alike": "same words"}.get(
                pair.kind, f"cosine {wording.decimal(pair.similarity, 2)}"
            )
            console.data_line(
                f'{record.place} "{excerpt(record.text)}" and {other.place}',
                *filter(None, (labels, likeness)),
                indent=2,
            )


def _show_outliers(result: "CheckResult", number: int) -> None:
    from trfcli.rendering.mistakes import excerpt, join_labels

    if result.outliers:
        console.data_line("Unlike all others:")
    for index, _ in result.outliers[:number]:
        record = result.records[index]
        labels = join_labels(sorted(record.labels))
        console.data_line(f'{record.place} "{excerpt(record.text)}" is {labels}', indent=2)


def _show_confusions(result: "CheckResult", number: int) -> None:
    if not result.confusions:
        return
    console.data_line("Labels that are confused most often:")
    console.data_table(
        ("given", "probably", "texts", "95% CI"),
        [
            (
                *each.labels,
                wording.thousands(each.texts),
                " to ".join(map(wording.thousands, each.interval)),
            )
            for each in result.confusions[:number]
        ],
        left=2,
    )


def _show_next(
    result: "CheckResult", names: list[str], *, output: Path | None, html: Path | None
) -> None:
    """Say what to do next."""
    files = " ".join(map(shlex.quote, names))
    if not result.doubtful:
        show_line = console.good if result.is_clean else console.info
        show_line(result.without_doubtful)
        return
    if output is None and html is None:
        console.hint(f"Next: trf check {files} --output corrections.jsonl --html check.html")
        return
    key = "label" if result.exclusive else "labels"
    corrections = "corrections.jsonl" if output is None else shlex.quote(str(output))
    if html is not None:
        console.hint(f"Open {html} in a browser, and save the corrections there")
    else:
        console.hint(f'In {output}, change "{key}" where it is wrong; null leaves a text out')
    console.hint(f"Next: trf train MODEL {files} --corrections {corrections}")
