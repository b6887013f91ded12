"""Arguments and options that several commands share."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

# It imports neither spaCy nor torch.
from trfcli_pipeline.data.dataset import DataSet as DataSet  # noqa: PLC0414, TID253

GENERAL = "General options"


pipeline_argument = partial(
    typer.Argument,
    help="Directory of a pipeline, or the name of an installed one.",
    show_default=False,
)
batch_size_option = partial(
    typer.Option,
    "--batch-size",
    "-b",
    metavar="N",
    min=1,
    max=2**31 - 1,
    help="Texts per batch.",
)

_FILES = (
    ".jsonl, .json, .csv, .tsv, .parquet, .xlsx, .spacy or .txt, a pattern, a directory, or "
    "hf://datasets/NAME; - reads JSONL from stdin."
)
data_argument = partial(
    typer.Argument, parser=DataSet.named, help=f"Labeled texts: {_FILES}", show_default=False
)
texts_argument = partial(typer.Argument, parser=DataSet.named, help=f"Texts: {_FILES}")
data_option = partial(typer.Option, parser=DataSet.named)
device_option = partial(
    typer.Option,
    "--device",
    metavar="NAME",
    help="cpu, cuda, cuda:1, mps, or auto for the fastest one.",
)
output_option = partial(typer.Option, "--output", "-o", metavar="FILE", show_default=False)
html_option = partial(typer.Option, "--html", metavar="FILE", show_default=False)
seed_option = partial(typer.Option, "--seed", metavar="N", min=0, max=2**32 - 1)

ModelArgument = Annotated[str, pipeline_argument(metavar="MODEL")]
DataArgument = Annotated[list[DataSet], data_argument(metavar="DATA")]
OutArgument = Annotated[
    Path, typer.Argument(metavar="OUT", help="Directory to write to.", show_default=False)
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ForceOption = Annotated[
    bool, typer.Option("--force", "-f", help="Overwrite the output if it exists.")
]
DeviceOption = Annotated[str, device_option()]
BatchSizeOption = Annotated[int | None, batch_size_option(show_default="the pipeline's batch_size")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="SCORE",
        help="Decision threshold for multi-label classifiers.",
        show_default="the model's own, or 0.5",
    ),
]

code_option = partial(
    typer.Option,
    "--code",
    metavar="FILE",
    help="Python file to import first: it registers functions that a pipeline or config names.",
    show_default=False,
)
CodeOption = Annotated[Path | None, code_option(rich_help_panel=GENERAL)]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel=GENERAL,
        help="Print only warnings, errors and the requested data.",
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="TRF_DEBUG",
        rich_help_panel=GENERAL,
        help="Show tracebacks and warnings from other libraries.",
    ),
]
