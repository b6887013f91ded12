"""The options of `trf train-textcat`, in groups, with the most common ones first."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from trfcli.options import batch_size_option, data_argument, device_option

_data = partial(typer.Option, rich_help_panel="Data and output", show_default=False)
_training = partial(typer.Option, rich_help_panel="Training")
_encoder = partial(typer.Option, rich_help_panel="Encoder")
_classifier = partial(typer.Option, rich_help_panel="Classifier")
_interruptions = partial(typer.Option, rich_help_panel="Interruptions")
_config = partial(typer.Option, rich_help_panel="All other settings")

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Directory of a pipeline.", show_default=False)
]
TrainArgument = Annotated[str, data_argument(metavar="TRAIN")]

DevOption = Annotated[
    str | None,
    _data(
        "--dev", "-d", metavar="FILE", help="Labeled texts on which the best checkpoint is chosen."
    ),
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
        show_default="exclusive if each text has one label",
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
        show_default="3; more for few texts, 2 above 50,000",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    batch_size_option(rich_help_panel="Training", show_default="32; 16 for fewer than 500 texts"),
]
LearnRateOption = Annotated[
    float | None,
    _training(
        min=0,
        metavar="RATE",
        help="Peak learning rate of the encoder.",
        show_default="1e-4; lower above 300 steps; 1e-3 with --lora",
    ),
]
PatienceOption = Annotated[
    int | None,
    _training(
        min=0,
        metavar="N",
        help="Stop after N evaluations without a better score. 0: never.",
        show_default="0",
    ),
]
EvalEveryOption = Annotated[
    int | None,
    _training(
        min=1,
        metavar="STEPS",
        help="Steps between evaluations.",
        show_default="one epoch; several epochs for few texts",
    ),
]
DeviceOption = Annotated[str, device_option(rich_help_panel="Training")]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    _training(
        metavar="TYPE",
        help="Number format for training: fp32, bf16, fp16, or auto (bf16 where the hardware "
        "supports it).",
    ),
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
        help="Train LoRA adapters of this rank instead of the encoder's weights. "
        "Needs trfcli[lora].",
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
        help="Steps between checkpoints. 0: no checkpoints.",
        show_default="same as --eval-every",
    ),
]
ConfigOption = Annotated[
    Path | None,
    _config(
        "--config",
        "-c",
        metavar="FILE",
        help="spaCy config file with the defaults. Each of its settings can be given as an option: "
        "--training.dropout 0.1.",
        show_default="configs/textcat.cfg or textcat_multilabel.cfg",
    ),
]
