"""`trf annotate`: annotate the texts of a file with a pipeline's predictions."""

import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trfcli import console, wording
from trfcli.options import (
    DataSet,
    DeviceOption,
    ForceOption,
    ModelArgument,
    batch_size_option,
    texts_argument,
)

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.annotate import AnnotationFinished, AnnotationStarted

EXIT_SKIPPED = 3


def annotate(
    model: ModelArgument,
    source: Annotated[
        DataSet,
        texts_argument(
            metavar="INPUT",
            help="Texts in a file of any format that trf reads, or a folder of such files; - reads "
            "JSONL from stdin.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="File to write: .jsonl, .csv, .tsv (each also .gz), .parquet, .xlsx or .spacy; "
            "- writes JSONL to stdout. A folder for one file per file of the folder INPUT.",
            show_default=False,
        ),
    ],
    n_process: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of worker processes.",
            show_default="1; with Ray, one per GPU or core",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            metavar="NAME",
            help="Where the workers run: local (this machine) or ray (a Ray cluster; needs "
            "trfcli[ray]).",
        ),
    ] = "local",
    batch_size: Annotated[
        int | None, batch_size_option(show_default="256; 4096 for a single process on a GPU")
    ] = None,
    device: DeviceOption = "auto",
    scores: Annotated[
        bool,
        typer.Option(
            "--scores",
            help="Add a column with the score of each label to a table. Other formats always have "
            "all scores.",
        ),
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(
            metavar="ACTION",
            help="What to do about a text that fails: stop, or skip (list it in "
            "OUTPUT.skipped.jsonl and exit with code 3).",
        ),
    ] = "stop",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: ForceOption = False,
) -> None:
    """Predict labels and entities for every text in a file.

    Example:
      trf annotate ./model texts.jsonl annotated.jsonl
      trf annotate ./model reviews.csv labeled.xlsx --scores
      trf annotate ./model reviews.csv.gz labeled.csv --n-process 4
      trf annotate ./model shards/ annotated/ --engine ray
      cat texts.jsonl | trf annotate ./model - - > annotated.jsonl
    """
    console.silence_libraries(forks=(n_process or 1) > 1)
    from trfcli_pipeline.tasks import annotate as task
    from trfcli_pipeline.tasks.annotate_folder import FileStarted, annotate_folder

    options: dict[str, Any] = {
        "n_process": n_process,
        "batch_size": batch_size,
        "device": device,
        "engine": engine,
        "scores": scores,
        "on_error": on_error,
        "resume": resume,
        "force": force,
    }
    is_file = output == "-" or Path(output).suffix
    events: Generator[FileStarted | task.AnnotationEvent, None, None] = (
        annotate_folder(model, source, Path(output), **options)
        if Path(str(source)).is_dir() and not is_file
        else task.annotate(model, source, output, **options)
    )
    n_skipped = 0
    with closing(events):
        for event in events:
            match event:
                case FileStarted():
                    output = str(event.output)
                    console.info(f"{event.source} ({event.number} of {event.total})")
                case task.AnnotationStarted():
                    describe_start(event, output)
                case task.AnnotationFinished():
                    console.if_interrupted(f"{output} was already saved")
                    describe_end(event, output)
                    n_skipped += event.skipped
    if n_skipped:
        raise typer.Exit(EXIT_SKIPPED)


def describe_start(started: "AnnotationStarted", output: str) -> None:
    """Say how many texts are done already, and set the message for Ctrl-C."""
    if started.done:
        console.info(f"Resuming after {wording.plural(started.done, 'text')}")
    if output == "-" and sys.stdout.isatty():
        console.end_status()
    elif output != "-" and started.resumable:
        console.if_interrupted("the texts done so far are kept, continue with --resume")


def describe_end(finished: "AnnotationFinished", output: str) -> None:
    """Say how many texts were annotated, which labels were predicted, and where the output is."""
    counts = [
        f"{label} {wording.thousands(number)}"
        for label, number in sorted(finished.labels.items(), key=lambda item: -item[1])
    ]
    labels = f"; predicted {wording.enumeration(counts)}" if counts else ""
    console.good(
        f"Annotated {wording.plural(finished.texts, 'text')}, "
        f"{wording.plural(finished.words, 'word')}, "
        f"{wording.thousands(finished.words_per_second)} words/s{labels}; "
        f"written to {'stdout' if output == '-' else output}"
    )
    if finished.renamed:
        names = wording.enumeration(list(finished.renamed.values()))
        own = "labels" if finished.renamed.keys() <= {"label", "labels", "cats"} else "such columns"
        console.info(f"Predictions are in {names}, because the input has {own} of its own")
    if finished.replaced:
        console.info(
            f"Replaced {wording.enumeration(list(finished.replaced))} of an earlier run "
            "(to keep them, rename them in the input)"
        )
    if finished.left_out:
        console.warn(
            f"The table has no column for {wording.enumeration(finished.left_out)}, which came "
            "after its header was written. A .jsonl file keeps all keys."
        )
    if finished.skipped:
        total = finished.texts + finished.skipped
        console.warn(
            f"Skipped {wording.thousands(finished.skipped)} of {wording.plural(total, 'text')}; "
            f"listed in {finished.skipped_path}"
        )
