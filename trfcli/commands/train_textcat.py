"""`trf train-textcat`: fine-tunes a pipeline's encoder and text classifier."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trfcli import console, wording
from trfcli.options import BatchSizeOption, DeviceOption

if TYPE_CHECKING:
    from trfcli_pipeline.training import Evaluated, Finished, Planned

_SHOWN_LABELS = 6
_COLUMNS = (("step", 6), ("epoch", 6), ("loss", 7), ("accuracy", 8), ("macro F", 7), ("words/s", 8))


_data = partial(typer.Option, rich_help_panel="Data", show_default=False)
_training = partial(typer.Option, rich_help_panel="Training", show_default="of the config")
_encoder = partial(typer.Option, rich_help_panel="Encoder", show_default="of the config")
_classifier = partial(typer.Option, rich_help_panel="Classifier", show_default="of the config")
_result = partial(typer.Option, rich_help_panel="Result", show_default=False)


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
        _data("--dev", "-d", metavar="FILE", help="Labelled texts to choose the best state by."),
    ] = None,
    dev_split: Annotated[
        float | None,
        _data(
            min=0.001,
            max=0.9,
            metavar="SHARE",
            help="Share of the training texts to hold out where no --dev is given.",
            show_default="0.1, at most 10,000 texts",
        ),
    ] = None,
    max_texts: Annotated[
        int | None,
        _data(min=1, metavar="N", help="Train on so many texts at most, drawn at random."),
    ] = None,
    exclusive: Annotated[
        bool | None,
        _data(
            "--exclusive/--multilabel",
            help="Whether exactly one label holds for a text.",
            show_default="what the data shows",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        _result(
            "--output",
            "-o",
            metavar="DIR",
            help="Where the trained pipeline goes.",
            show_default="MODEL itself, replaced when training has ended well",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        _training("--epochs", "-n", min=1, metavar="N", help="Passes over the training texts."),
    ] = None,
    batch_size: BatchSizeOption = None,
    learn_rate: Annotated[
        float | None,
        _encoder(min=0, metavar="RATE", help="Peak learning rate of the encoder."),
    ] = None,
    layer_decay: Annotated[
        float | None,
        _encoder(
            min=0,
            max=1,
            metavar="FACTOR",
            help="What a layer's rate is multiplied by for the layer below it.",
        ),
    ] = None,
    freeze_encoder: Annotated[
        bool,
        _encoder(
            "--freeze-encoder",
            help="Train the classifier alone: much faster, less accurate.",
            show_default=False,
        ),
    ] = False,
    freeze_layers: Annotated[
        int,
        _encoder(
            min=0,
            metavar="N",
            help="Leave the embeddings and so many of the lowest layers as they are.",
            show_default=False,
        ),
    ] = 0,
    lora: Annotated[
        int | None,
        _encoder(
            min=1,
            metavar="RANK",
            help="Train adapters of this rank in place of the encoder's weights; needs "
            "trfcli[lora].",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        _encoder(
            help="Numbers to train in; auto: bf16 on GPUs and CPUs that have it.",
            show_default=True,
        ),
    ] = "auto",
    segments: Annotated[
        str | None,
        _encoder(
            metavar="KIND",
            help="What the encoder sees at once: windows (as many sentences as fit), sentences, "
            "or doc.",
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        _classifier(
            metavar="NAME",
            help="softmax_last_hidden, softmax_class_vector or softmax_pooler_output.",
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        _classifier(
            metavar="KIND",
            help="How the segments of a text become one vector: mean, max or attention.",
        ),
    ] = None,
    balance: Annotated[
        bool,
        _classifier(
            "--balance", help="Weigh rare labels more than common ones.", show_default=False
        ),
    ] = False,
    focal_gamma: Annotated[
        float | None,
        _classifier(
            min=0, metavar="GAMMA", help="Focal loss: count texts less that are right already."
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        _training(min=1, metavar="N", help="Batches whose gradients make one step."),
    ] = None,
    averages: Annotated[
        bool,
        _training(
            "--averages",
            help="Evaluate and save averages of the weights over the steps.",
            show_default=False,
        ),
    ] = False,
    patience: Annotated[
        int | None,
        _training(
            min=0,
            metavar="N",
            help="End after so many evaluations without a better score; 0 for never.",
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        _training(
            min=1,
            metavar="STEPS",
            help="Steps from one evaluation to the next.",
            show_default="an epoch, or several of few texts",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        _training(min=0, max=2**32 - 1, metavar="N", help="Seed of everything random."),
    ] = None,
    device: DeviceOption = "auto",
    checkpoint_every: Annotated[
        int | None,
        _result(
            min=0,
            metavar="STEPS",
            help="Steps from one checkpoint to the next; 0 for none.",
            show_default="as --eval-every",
        ),
    ] = None,
    resume: Annotated[
        bool,
        _result(
            "--resume", help="Go on from the last checkpoint of a training that was interrupted."
        ),
    ] = False,
    config: Annotated[
        Path | None,
        _training(
            "--config",
            "-c",
            metavar="FILE",
            help="A spaCy config to take the defaults from.",
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
    from trfcli_pipeline.training.config import TrainingArguments

    console.if_interrupted(f"{output or model} is as it was")
    events = training.train_textcat(
        model,
        train,
        dev=dev,
        output=output,
        settings=TrainingArguments(
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
            layer_decay=layer_decay,
            freeze_layers=freeze_layers,
            lora=lora,
            precision=precision,
            averages=averages,
        ),
        resume=resume,
    )
    table = console.ProgressTable(_COLUMNS, note="← best")
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
    shares = [f"{label} {wording.percent(count / total)}" for label, count in common]
    kind = "exclusive" if plan.exclusive else "multi-label"
    console.good(
        f"{wording.plural(plan.train_texts, 'text')} to train on, "
        f"{wording.thousands(plan.dev_texts)} for dev ({plan.dev_origin}); "
        f"{wording.plural(len(shares), 'label')}, {kind}: "
        f"{wording.enumeration(shares, limit=_SHOWN_LABELS)}"
    )
    for remark in plan.remarks:
        console.warn(remark)
    encoder = "encoder frozen" if plan.trf_lr is None else f"encoder rate {plan.trf_lr:.0e}"
    if plan.rate_rule:
        encoder += f" ({plan.rate_rule})"
    precision = "" if plan.precision == "fp32" else f", {plan.precision}"
    rates = ", ".join([encoder, f"head rate {plan.learn_rate:.0e}", *plan.methods])
    console.info(
        f"{plan.device.upper()}{precision}, {wording.plural(plan.threads, 'thread')}; {rates}, "
        f"batch {plan.batch_size}, {plan.steps:,} steps, "
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
    notes = {None: "", "score": "← best"}
    table.add(
        wording.thousands(event.step),
        f"{event.epoch:.2f}",
        f"{event.loss:.3f}",
        f"{evaluation.accuracy:.3f}",
        f"{evaluation.macro_f:.3f}",
        wording.thousands(event.words_per_second),
        note=notes.get(event.choice, "← kept"),
    )


def describe_end(finished: "Finished") -> None:
    """Say what was reached, where it is, and what to do next."""
    if finished.was_finished:
        console.info(f"This training had already ended: {finished.path} is its result")
    metric = finished.metric.removeprefix("cats_").replace("_f", " F")
    early = "; ended early, for want of a better score" if finished.stopped_early else ""
    was = f" (was: {finished.was})" if finished.was else ""
    found = f"Best dev {metric} {finished.score:.3f} at step {finished.best_step:,}"
    if finished.choice != "score":
        why = {
            "rate": "less than before by chance at most",
            "last": "of too few texts to tell much",
        }
        found = f"Dev {metric} {finished.score:.3f} at the end, {why[finished.choice]}"
    console.good(f"{found}{early}; saved to {finished.path}{was}")
    console.hint(f"Next: trf evaluate {finished.path} test.jsonl")
