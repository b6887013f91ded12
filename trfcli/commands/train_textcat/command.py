"""The options of `trf train-textcat`, by section, and what happens at each event."""

import os
from contextlib import closing
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from trfcli import console
from trfcli.commands.train_textcat import messages
from trfcli.options import (
    DataSet,
    batch_size_option,
    data_argument,
    data_option,
    device_option,
    pipeline_argument,
)

_data = partial(typer.Option, rich_help_panel="Data and output", show_default=False)
_training = partial(typer.Option, rich_help_panel="Training")
_encoder = partial(typer.Option, rich_help_panel="Encoder")
_classifier = partial(typer.Option, rich_help_panel="Classifier")
_interruptions = partial(typer.Option, rich_help_panel="Interruptions")


def train_textcat(
    context: typer.Context,
    model: Annotated[str, pipeline_argument(metavar="MODEL", help="Directory of a pipeline.")],
    train: Annotated[list[DataSet] | None, data_argument(metavar="TRAIN")] = None,
    dev: Annotated[
        DataSet | None,
        data_option(
            "--dev",
            "-d",
            metavar="FILE",
            rich_help_panel="Data and output",
            help="Labeled texts on which the best checkpoint is chosen.",
            show_default=False,
        ),
    ] = None,
    unlabeled: Annotated[
        DataSet | None,
        data_option(
            "--unlabeled",
            "--unlabelled",
            metavar="FILE",
            rich_help_panel="Data and output",
            help="Further texts without labels. A new classifier for few texts also learns from "
            "them, if cross-fitting says that this helps.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        _data(
            "--output",
            "-o",
            metavar="DIR",
            help="Directory for the trained pipeline. MODEL is overwritten only if training "
            "succeeds.",
            show_default="MODEL",
        ),
    ] = None,
    force: Annotated[
        bool,
        _data(
            "--force",
            "-f",
            help="Overwrite DIR even if it is not an earlier result of training MODEL.",
        ),
    ] = False,
    dev_split: Annotated[
        float | None,
        _data(
            min=0.001,
            max=0.9,
            metavar="SHARE",
            help="Share of the training texts to hold out if there is no --dev.",
            show_default="0.1, at most 10,000 texts",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        _data(
            metavar="FILE",
            help="Corrections of labels in TRAIN: the output of trf check, edited.",
        ),
    ] = None,
    exclusive: Annotated[
        bool | None,
        _data(
            "--exclusive/--multilabel",
            help="Whether exactly one label applies to each text.",
            show_default="exclusive if each text has one label",
        ),
    ] = None,
    max_texts: Annotated[
        int | None,
        _data(
            min=1,
            metavar="N",
            help="Maximum number of training texts, drawn at random.",
            show_default="all",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _training(
            "--epochs",
            "-n",
            min=1,
            metavar="N",
            help="Passes over the training texts.",
            show_default="3; more for few texts, 2 above 50,000",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        batch_size_option(
            rich_help_panel="Training", show_default="32; 16 for fewer than 500 texts"
        ),
    ] = None,
    learn_rate: Annotated[
        float | None,
        _training(
            min=0,
            metavar="RATE",
            help="Peak learning rate of the encoder.",
            show_default="1e-4; lower above 300 steps; 1e-3 with --lora",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        _training(
            min=0,
            metavar="N",
            help="Stop after N evaluations without a better score. 0: never.",
            show_default="0",
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        _training(
            min=1,
            metavar="STEPS",
            help="Steps between evaluations.",
            show_default="one epoch; several epochs for few texts",
        ),
    ] = None,
    device: Annotated[str, device_option(rich_help_panel="Training")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        _training(
            metavar="TYPE",
            help="Number format for training: fp32, bf16, fp16, or auto (bf16 where the hardware "
            "supports it).",
        ),
    ] = "auto",
    seed: Annotated[
        int | None,
        _training(
            min=0, max=2**32 - 1, metavar="N", help="Seed of all random numbers.", show_default="0"
        ),
    ] = None,
    seeds: Annotated[
        int,
        _training(
            min=1,
            max=1000,
            metavar="N",
            help="Train N models with one seed after the other, and keep the median.",
        ),
    ] = 1,
    freeze_encoder: Annotated[
        bool,
        _encoder("--freeze-encoder", help="Train the classifier only: much faster, less accurate."),
    ] = False,
    freeze_layers: Annotated[
        int, _encoder(min=0, metavar="N", help="Freeze the embeddings and the N lowest layers.")
    ] = 0,
    lora: Annotated[
        int | None,
        _encoder(
            min=1,
            metavar="RANK",
            help="Train LoRA adapters of this rank instead of the encoder's weights. "
            "Needs trfcli[lora].",
            show_default=False,
        ),
    ] = None,
    segments: Annotated[
        str | None,
        _encoder(
            metavar="KIND",
            help="What the encoder sees at once: windows (as many sentences as fit), sentences, or "
            "doc.",
            show_default="windows",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        _classifier(
            metavar="NAME",
            help="softmax_last_hidden, softmax_class_vector or softmax_pooler_output.",
            show_default="softmax_last_hidden",
        ),
    ] = None,
    balance: Annotated[
        bool, _classifier("--balance", help="Give rare labels a higher weight than common ones.")
    ] = False,
    drop_labels: Annotated[
        bool,
        _classifier(
            "--drop-labels",
            help="Remove labels of the existing classifier that no training text has.",
        ),
    ] = False,
    min_accuracy: Annotated[
        float | None,
        _classifier(
            min=0.01,
            max=0.999,
            metavar="SHARE",
            help="Mark texts as unsure so that this share of the other answers is correct.",
            show_default="0.95",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        _classifier(
            min=0.01,
            max=1.0,
            metavar="SHARE",
            help="Answer this share of the texts, and mark the others as unsure.",
            show_default="what --min-accuracy allows",
        ),
    ] = None,
    track: Annotated[
        Literal["wandb", "mlflow", "tensorboard"] | None,
        _data(
            metavar="NAME",
            help="Log to wandb, mlflow or tensorboard. Needs trfcli[NAME].",
        ),
    ] = None,
    resume: Annotated[
        bool,
        _interruptions(
            "--resume", help="Continue an interrupted training from its last checkpoint."
        ),
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        _interruptions(
            min=0,
            metavar="STEPS",
            help="Steps between checkpoints. 0: no checkpoints.",
            show_default="same as --eval-every",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            rich_help_panel="All other settings",
            metavar="FILE",
            help="spaCy config file with the defaults. Each of its settings can be given as an "
            "option: --training.dropout 0.1.",
            show_default="configs/textcat.cfg or textcat_multilabel.cfg",
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            rich_help_panel="All other settings",
            help="Print the config for --config instead of training.",
        ),
    ] = False,
) -> None:
    """Fine-tune a pipeline's encoder and a text classifier on labeled texts.

    Example:
      trf train-textcat ./model train.jsonl
      trf train ./model train.csv --dev dev.csv --epochs 5 --output ./trained
      trf train ./model train.csv --min-accuracy 0.97
      trf train ./model train.csv --training.optimizer.trf_layer_decay 0.9
      trf train ./model train.csv --epochs 5 --print-config > train.cfg
    """
    from trfcli_pipeline.data.corrections import Corrections
    from trfcli_pipeline.errors import ArgumentError
    from trfcli_pipeline.tasks.inputs import check_inputs
    from trfcli_pipeline.training.arguments import TrainingArguments

    # Options have the names of the arguments.
    names = {each.name for each in fields(TrainingArguments)}
    chosen = {name: value for name, value in context.params.items() if name in names}
    arguments = TrainingArguments(**chosen, overrides=context.obj)
    data = DataSet.joined(train) if train else None
    check_inputs(model, labeled=[data, dev], texts=[unlabeled])
    if corrections is not None:
        Corrections.read(corrections)
    if print_config:
        from trfcli_pipeline.training.resolved_config import resolve_config

        text, decisions = resolve_config(model, data, dev, arguments)
        for decision in decisions:
            console.info(decision)
        console.data(text)
        return
    if data is None:
        raise ArgumentError("TRAIN is missing", hint="Name a file with labeled texts")
    target = Path(output or model)
    unchanged = f"{target} was not {'changed' if target.exists() else 'written'}"
    console.if_interrupted(unchanged)

    from trfcli_pipeline.training import events
    from trfcli_pipeline.training import train as task

    reported = task.train_textcat(
        model,
        data,
        dev=dev,
        unlabeled=unlabeled,
        output=output,
        arguments=arguments,
        resume=resume,
        force=force,
        track=track,
    )
    plans = 0
    with closing(reported):
        for event in reported:
            if not is_first_process():
                continue
            match event:
                case events.SeedStarted():
                    messages.describe_seed(event)
                case events.SeedFinished():
                    console.if_interrupted(f"{unchanged}. --resume continues with the next seed")
                case events.Planned():
                    messages.describe_plan(event, resume=resume, again=plans > 0)
                    plans += 1
                case events.TrackingStarted() | events.TrackingFailed():
                    messages.describe_tracking(event)
                case events.Evaluated():
                    messages.describe_evaluation(event)
                case events.Checkpointed():
                    console.if_interrupted(
                        f"{unchanged}. To continue from step {event.step:,}, run the "
                        "same command with --resume"
                    )
                case events.Finished():
                    console.if_interrupted(f"{target} was already saved")
                    messages.describe_result(event)


def is_first_process() -> bool:
    """Whether this is the process that prints, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"
