"""`trf train-textcat`: fine-tunes a pipeline's encoder and text classifier."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console
from trfcli.options import BatchSizeOption, DeviceOption

if TYPE_CHECKING:
    from trfcli_pipeline.training import Evaluated, Finished, Planned

_SHOWN_LABELS = 6
_COLUMNS = (("step", 6), ("epoch", 6), ("loss", 7), ("accuracy", 8), ("macro F", 7), ("words/s", 8))


def train_textcat(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Directory of a pipeline.", show_default=False)
    ],
    train: Annotated[
        str,
        typer.Argument(
            metavar="TRAIN",
            help="Labelled texts: .jsonl, .json, .csv, .tsv, .parquet or .spacy; - for JSONL on "
            "stdin.",
            show_default=False,
        ),
    ],
    dev: Annotated[
        str | None,
        typer.Option(
            "--dev",
            "-d",
            metavar="FILE",
            help="Labelled texts to choose the best state by.",
            rich_help_panel="Data",
            show_default=False,
        ),
    ] = None,
    dev_split: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=0.9,
            metavar="SHARE",
            help="Share of the training texts to hold out where no --dev is given.",
            rich_help_panel="Data",
        ),
    ] = 0.1,
    max_texts: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Train on so many texts at most, drawn at random.",
            rich_help_panel="Data",
            show_default=False,
        ),
    ] = None,
    exclusive: Annotated[
        bool | None,
        typer.Option(
            "--exclusive/--multilabel",
            help="Whether exactly one label holds for a text.",
            rich_help_panel="Data",
            show_default="what the data shows",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Where the trained pipeline goes.",
            rich_help_panel="Result",
            show_default="MODEL itself, replaced when training has ended well",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            "-n",
            min=1,
            metavar="N",
            help="Passes over the training texts.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    batch_size: BatchSizeOption = None,
    learn_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="RATE",
            help="Peak learning rate of the encoder.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="softmax_last_hidden, softmax_class_vector or softmax_pooler_output.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    segments: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What the encoder sees at once: windows (as many sentences as fit), sentences, "
            "or doc.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="How the segments of a text become one vector: mean, max or attention.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="Weigh rare labels more than common ones.",
            rich_help_panel="Training",
        ),
    ] = False,
    focal_gamma: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="GAMMA",
            help="Focal loss: count texts less that are right already.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Batches whose gradients make one step.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    freeze_encoder: Annotated[
        bool,
        typer.Option(
            "--freeze-encoder",
            help="Train the classifier alone: much faster, less accurate.",
            rich_help_panel="Training",
        ),
    ] = False,
    patience: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="End after so many evaluations without a better score; 0 for never.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="STEPS",
            help="Steps from one evaluation to the next.",
            rich_help_panel="Training",
            show_default="an epoch",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            metavar="N",
            help="Seed of everything random.",
            rich_help_panel="Training",
            show_default="of the config",
        ),
    ] = None,
    device: DeviceOption = "auto",
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="STEPS",
            help="Steps from one checkpoint to the next; 0 for none.",
            rich_help_panel="Result",
            show_default="as --eval-every",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last checkpoint of a training that was interrupted.",
            rich_help_panel="Result",
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="A spaCy config to take the defaults from.",
            rich_help_panel="Training",
            show_default="configs/textcat.cfg or textcat_multilabel.cfg",
        ),
    ] = None,
) -> None:
    """Fine-tune a pipeline's encoder and a text classifier on labelled texts.

    Example:
      trf train-textcat ./model train.jsonl
      trf train ./model train.csv --dev dev.csv --epochs 5 --output ./trained
    """
    from trfcli_pipeline import training
    from trfcli_pipeline.training.recipe import Settings

    console.if_interrupted(f"{output or model} is as it was")
    events = training.train_textcat(
        model,
        train,
        dev=dev,
        output=output,
        settings=Settings(
            config=config,
            dev_split=dev_split,
            exclusive=exclusive,
            architecture=architecture,
            epochs=epochs,
            batch_size=batch_size,
            learn_rate=learn_rate,
            patience=patience,
            eval_every=eval_every,
            checkpoint_every=checkpoint_every,
            freeze_encoder=freeze_encoder,
            seed=seed,
            device=device,
            max_texts=max_texts,
            segments=segments,
            pooling=pooling,
            balance=balance,
            focal_gamma=focal_gamma,
            accumulate=accumulate,
        ),
        resume=resume,
    )
    table = console.ProgressTable(_COLUMNS)
    with console.progress(0, "training", unit="steps") as bar:
        for event in events:
            if not is_first_process():
                continue
            match event:
                case training.Planned():
                    describe_plan(event, resume=resume)
                    bar.reset(total=event.steps)
                    bar.update(event.done_steps)
                case training.Stepped():
                    bar.set_postfix_str(f"loss {event.loss:.3f}", refresh=False)
                    bar.update()
                case training.Evaluated():
                    add_row(table, event)
                case training.Checkpointed():
                    console.if_interrupted(
                        f"{output or model} is as it was; the same command with --resume goes on "
                        f"from step {event.step:,}"
                    )
                case training.Finished():
                    bar.close()
                    describe_end(event)


def is_first_process() -> bool:
    """Whether this is the one to speak, of the processes that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"


def describe_plan(plan: "Planned", *, resume: bool) -> None:
    """Say what was read and decided."""
    total = sum(plan.label_counts.values())
    common = sorted(plan.label_counts.items(), key=lambda item: -item[1])
    shares = [f"{label} {console.percent(count / total)}" for label, count in common]
    kind = "exclusive" if plan.exclusive else "multi-label"
    console.good(
        f"{console.plural(plan.train_texts, 'text')} to train on, "
        f"{console.thousands(plan.dev_texts)} for dev ({plan.dev_origin}); "
        f"{console.plural(len(shares), 'label')}, {kind}: "
        f"{console.enumeration(shares, limit=_SHOWN_LABELS)}"
    )
    for remark in plan.remarks:
        console.warn(remark)
    encoder = "encoder frozen" if plan.trf_lr is None else f"encoder rate {plan.trf_lr:.0e}"
    console.info(
        f"{plan.device.upper()}, {console.plural(plan.threads, 'thread')}; {encoder}, "
        f"head rate {plan.learn_rate:.0e}, batch {plan.batch_size}, {plan.steps:,} steps, "
        f"warm-up {plan.warmup_steps:,}; {plan.segments}, mean length {plan.mean_length:.0f} "
        f"wordpieces; "
        f"{plan.classifier}"
    )
    if plan.size_rule:
        console.info(plan.size_rule)
    if plan.done_steps:
        console.info(f"Goes on after step {plan.done_steps:,} of {plan.steps:,}")
    elif resume:
        console.info("There is no checkpoint to go on from; starts from the beginning")


def add_row(table: console.ProgressTable, event: "Evaluated") -> None:
    evaluation = event.evaluation
    table.add(
        console.thousands(event.step),
        f"{event.epoch:.2f}",
        f"{event.loss:.3f}",
        f"{evaluation.accuracy:.3f}",
        f"{evaluation.macro_f:.3f}",
        console.thousands(event.words_per_second),
        note="← best" if event.is_best else "",
    )


def describe_end(finished: "Finished") -> None:
    """Say what was reached, where it is, and what to do next."""
    if finished.was_finished:
        console.info(f"This training had already ended: {finished.path} is its result")
    metric = finished.metric.removeprefix("cats_").replace("_f", " F")
    early = "; ended early, for want of a better score" if finished.stopped_early else ""
    was = f" (was: {finished.was})" if finished.was else ""
    console.good(
        f"Best dev {metric} {finished.score:.3f} at step {finished.best_step:,}{early}; "
        f"saved to {finished.path}{was}"
    )
    console.hint(f"Next: trf evaluate {finished.path} test.jsonl")
