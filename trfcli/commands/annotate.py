"""`trf annotate`: what a pipeline predicts for every text of a file."""

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import BatchSizeOption, DeviceOption, ModelArgument

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.annotate import Finished, Started

_SHOWN_LABELS = 10


def annotate(
    model: ModelArgument,
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Texts; - for JSONL on stdin.", show_default=False),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="File to write: .jsonl, .csv, .tsv, each also with .gz, or .spacy; - for JSONL on "
            "stdout.",
            show_default=False,
        ),
    ],
    n_process: Annotated[
        int,
        typer.Option(
            "--n-process", metavar="N", min=1, help="Processes; up to one a core makes it faster."
        ),
    ] = 1,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where an interrupted run has ended.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Replace an output that exists, or what a run has left of it."
        ),
    ] = False,
) -> None:
    """Write what a pipeline predicts for every text of a file, in order.

    Example:
      trf annotate ./model texts.jsonl annotated.jsonl
      trf annotate ./model reviews.csv.gz labelled.csv --n-process 4
      cat texts.jsonl | trf annotate ./model - - > annotated.jsonl
    """
    console.silence_libraries(forks=n_process > 1)
    from trfcli_pipeline.tasks import annotate as task

    events = task.annotate(
        model,
        source,
        output,
        n_process=n_process,
        batch_size=batch_size,
        device=device,
        resume=resume,
        force=force,
    )
    with ExitStack() as stack:
        for event in events:
            match event:
                case task.Started():
                    describe_start(event, output)
                    start, words = time.perf_counter(), 0
                    bar = console.progress(event.total, "annotating", unit="texts")
                    stack.enter_context(bar).update(event.done)
                case task.Advanced():
                    words += event.words
                    speed = words / (time.perf_counter() - start)
                    bar.set_postfix_str(f"{wording.thousands(speed)} words/s", refresh=False)
                    bar.update(event.texts)
                case task.Finished():
                    bar.close()
                    describe_end(event, output)


def describe_start(started: "Started", output: str) -> None:
    """Say what an earlier run has done, and keep in mind what an interrupt would leave."""
    if started.done:
        console.info(f"Continuing after {wording.plural(started.done, 'text')}")
    if output != "-":
        console.if_interrupted("what was done is kept, to be continued with --resume")


def describe_end(finished: "Finished", output: str) -> None:
    """Say how much was done, what was found, and where it is."""
    found = [
        f"{label} {wording.thousands(number)}"
        for label, number in sorted(finished.labels.items(), key=lambda item: -item[1])
    ]
    labels = f"; {wording.enumeration(found, limit=_SHOWN_LABELS)}" if found else ""
    console.good(
        f"Annotated {wording.plural(finished.texts, 'text')}, "
        f"{wording.plural(finished.words, 'word')}, "
        f"{wording.thousands(finished.words_per_second)} words/s{labels}; "
        f"written to {'stdout' if output == '-' else output}"
    )
    if finished.left_out:
        console.warn(
            f"The table has no column for {wording.enumeration(finished.left_out)}, "
            "which the first text doesn't have; a .jsonl file would keep it"
        )
