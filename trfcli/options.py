"""Arguments and options that several commands share: the same name and words everywhere."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

pipeline_argument = partial(
    typer.Argument,
    help="Directory of a pipeline, or the name of an installed one.",
    show_default=False,
)
ModelArgument = Annotated[str, pipeline_argument(metavar="MODEL")]
DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Labelled texts; - for JSONL on stdin.", show_default=False
    ),
]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="Directory to write to.", show_default=False)
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Replace what is already there.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, mps, or auto: the best there is."
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", "-b", metavar="TEXTS", min=1, help="Texts in a batch.", show_default=False
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0,
        max=1,
        metavar="SCORE",
        help="Score from which one of several labels holds.",
        show_default="the model's own, else 0.5",
    ),
]

QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel="General options",
        help="Print only warnings, errors and the requested data.",
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="TRF_DEBUG",
        rich_help_panel="General options",
        help="Show tracebacks and warnings from other libraries.",
    ),
]
