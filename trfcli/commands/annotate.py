"""`trf annotate`: annotate the texts of a file with a pipeline's predictions."""

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trfcli import console, wording
from trfcli.options import (
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
        str,
        texts_argument(
            metavar="INPUT",
            help="Texts: .jsonl, .json, .csv, .tsv, .parquet, .spacy or .txt, or a folder of such "
            "files; - reads JSONL from stdin.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="File to write: .jsonl, .csv, .tsv (each also .gz) or .spacy; - writes JSONL "
            "to stdout. A folder if INPUT is one.",
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
    batch_size: Annotated[int, batch_size_option()] = 256,
    device: DeviceOption = "auto",
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
        "on_error": on_error,
        "resume": resume,
        "force": force,
    }
    is_folder = Path(source).is_dir()
    events: Generator[FileStarted | task.AnnotationEvent, None, None] = (
        annotate_folder(model, Path(source), Path(output), **options)
        if is_folder
        else task.annotate(model, source, output, **options)
    )
    n_skipped = 0
    with ExitStack() as stack:
        stack.enter_context(closing(events))
        for event in events:
            match event:
                case FileStarted():
                    output = str(event.output)
                    console.info(f"{event.source} ({event.number} of {event.total})")
                case task.AnnotationStarted():
                    describe_start(event, output)
                    start, words = time.perf_counter(), 0
                    bar = console.progress(event.total, "annotating", unit="texts")
                    stack.enter_context(bar).update(event.done)
                case task.BatchAnnotated():
                    words += event.words
                    speed = words / (time.perf_counter() - start)
                    bar.set_postfix_str(f"{wording.thousands(speed)} words/s", refresh=False)
                    bar.update(event.texts)
                case task.AnnotationFinished():
                    console.if_interrupted(f"{output} was already saved")
                    bar.close()
                    describe_end(event, output)
                    n_skipped += event.skipped
    if n_skipped:
        raise typer.Exit(EXIT_SKIPPED)


def describe_start(started: "AnnotationStarted", output: str) -> None:
    """Say how many texts are done already, and set the message for Ctrl-C."""
    if started.done:
        console.info(f"Resuming after {wording.plural(started.done, 'text')}")
    if output != "-":
        console.if_interrupted("the texts done so far are kept, continue with --resume")


def describe_end(finished: "AnnotationFinished", output: str) -> None:
    """Say how many texts were annotated, which labels were predicted, and where the output is."""
    counts = [
        f"{label} {wording.thousands(number)}"
        for label, number in sorted(finished.labels.items(), key=lambda item: -item[1])
    ]
    labels = f"; {wording.enumeration(counts)}" if counts else ""
    console.good(
        f"Annotated {wording.plural(finished.texts, 'text')}, "
        f"{wording.plural(finished.words, 'word')}, "
        f"{wording.thousands(finished.words_per_second)} words/s{labels}; "
        f"written to {'stdout' if output == '-' else output}"
    )
    if finished.left_out:
        console.warn(
            f"The table has no column for {wording.enumeration(finished.left_out)} "
            "(missing from the first text). A .jsonl file keeps all keys."
        )
    if finished.skipped:
        total = finished.texts + finished.skipped
        console.warn(
            f"Skipped {wording.thousands(finished.skipped)} of {wording.plural(total, 'text')}; "
            f"listed in {finished.skipped_path}"
        )
