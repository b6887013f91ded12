"""The options of `trf train-textcat`, in groups, with the most common ones first."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

_data = partial(typer.Option, rich_help_panel="Data and output", show_default=False)
_training = partial(typer.Option, rich_help_panel="Training")
_encoder = partial(typer.Option, rich_help_panel="Encoder")
_classifier = partial(typer.Option, rich_help_panel="Classifier")
_interruptions = partial(typer.Option, rich_help_panel="Interruptions")
_config = partial(typer.Option, rich_help_panel="All other settings")

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Directory of a pipeline.", show_default=False)
]
TrainArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRAIN",
        help="Labelled texts: .jsonl, .json, .csv, .tsv, .parquet or .spacy; - for JSONL on stdin.",
        show_default=False,
    ),
]

DevOption = Annotated[
    str | None,
    _data("--dev", "-d", metavar="FILE", help="Labelled texts to choose the best step by."),
]
DevSplitOption = Annotated[
    float | None,
    _data(
        min=0.001,
        max=0.9,
        metavar="SHARE",
        help="Share of the training texts to hold out if there is no --dev.",
        show_default="0.1, at most 10,000 texts",
    ),
]
OutputOption = Annotated[
    Path | None,
    _data(
        "--output",
        "-o",
        metavar="DIR",
        help="Directory for the trained pipeline. MODEL is overwritten only if training succeeds.",
        show_default="MODEL",
    ),
]
ExclusiveOption = Annotated[
    bool | None,
    _data(
        "--exclusive/--multilabel",
        help="Whether exactly one label applies to each text.",
        show_default="exclusive if every text has exactly one label",
    ),
]
MaxTextsOption = Annotated[
    int | None,
    _data(
        min=1,
        metavar="N",
        help="Maximum number of training texts, drawn at random.",
        show_default="all",
    ),
]

EpochsOption = Annotated[
    int | None,
    _training(
        "--epochs",
        "-n",
        min=1,
        metavar="N",
        help="Passes over the training texts.",
        show_default="3; more for few texts, 2 for more than 50,000",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    _training(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Texts per batch.",
        show_default="32; 16 for fewer than 500 texts",
    ),
]
LearnRateOption = Annotated[
    float | None,
    _training(
        min=0,
        metavar="RATE",
        help="Peak learning rate of the encoder.",
        show_default="1e-4; less for more than 300 steps, 1e-3 with --lora",
    ),
]
PatienceOption = Annotated[
    int | None,
    _training(
        min=0,
        metavar="N",
        help="Stop after N evaluations without a better score; 0 to never stop early.",
        show_default="0",
    ),
]
EvalEveryOption = Annotated[
    int | None,
    _training(
        min=1,
        metavar="STEPS",
        help="Steps between evaluations.",
        show_default="one epoch; several for few texts",
    ),
]
DeviceOption = Annotated[
    str, _training(metavar="NAME", help="cpu, cuda, cuda:1, mps, or auto for the best available.")
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    _training(help="Precision of training steps; auto is bf16 on hardware that supports it."),
]
SeedOption = Annotated[
    int | None,
    _training(
        min=0,
        max=2**32 - 1,
        metavar="N",
        help="Seed of all random numbers.",
        show_default="0",
    ),
]

FreezeEncoderOption = Annotated[
    bool,
    _encoder("--freeze-encoder", help="Train the classifier only: much faster, less accurate."),
]
FreezeLayersOption = Annotated[
    int,
    _encoder(min=0, metavar="N", help="Freeze the embeddings and the N lowest layers."),
]
LoraOption = Annotated[
    int | None,
    _encoder(
        min=1,
        metavar="RANK",
        help="Train LoRA adapters of this rank instead of the encoder's weights; needs the "
        "extra `lora`.",
        show_default=False,
    ),
]
SegmentsOption = Annotated[
    str | None,
    _encoder(
        metavar="KIND",
        help="What the encoder sees at once: windows (as many sentences as fit), sentences, or "
        "doc.",
        show_default="windows",
    ),
]
ArchitectureOption = Annotated[
    str | None,
    _classifier(
        metavar="NAME",
        help="softmax_last_hidden, softmax_class_vector or softmax_pooler_output.",
        show_default="softmax_last_hidden",
    ),
]
BalanceOption = Annotated[
    bool, _classifier("--balance", help="Give rare labels a higher weight than common ones.")
]

ResumeOption = Annotated[
    bool,
    _interruptions("--resume", help="Continue an interrupted training from its last checkpoint."),
]
CheckpointEveryOption = Annotated[
    int | None,
    _interruptions(
        min=0,
        metavar="STEPS",
        help="Steps between checkpoints; 0 for none.",
        show_default="same as --eval-every",
    ),
]
ConfigOption = Annotated[
    Path | None,
    _config(
        "--config",
        "-c",
        metavar="FILE",
        help="spaCy config file with the defaults. Each of its settings can be given as an option, "
        "such as --training.dropout 0.1",
        show_default="configs/textcat.cfg or textcat_multilabel.cfg",
    ),
]
