"""Parses the command line, trains, and prints what happens."""

import os

import typer

from trfcli import console
from trfcli.commands.train_textcat import messages, options


def train_textcat(
    context: typer.Context,
    model: options.ModelArgument,
    train: options.TrainArgument,
    dev: options.DevOption = None,
    output: options.OutputOption = None,
    dev_split: options.DevSplitOption = None,
    exclusive: options.ExclusiveOption = None,
    max_texts: options.MaxTextsOption = None,
    epochs: options.EpochsOption = None,
    batch_size: options.BatchSizeOption = None,
    learn_rate: options.LearnRateOption = None,
    patience: options.PatienceOption = None,
    eval_every: options.EvalEveryOption = None,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = "auto",
    seed: options.SeedOption = None,
    freeze_encoder: options.FreezeEncoderOption = False,
    freeze_layers: options.FreezeLayersOption = 0,
    lora: options.LoraOption = None,
    segments: options.SegmentsOption = None,
    architecture: options.ArchitectureOption = None,
    balance: options.BalanceOption = False,
    resume: options.ResumeOption = False,
    checkpoint_every: options.CheckpointEveryOption = None,
    config: options.ConfigOption = None,
) -> None:
    """Fine-tune a pipeline's encoder and a text classifier on labeled texts.

    Example:
      trf train-textcat ./model train.jsonl
      trf train ./model train.csv --dev dev.csv --epochs 5 --output ./trained
      trf train ./model train.csv --training.optimizer.trf_layer_decay 0.9
    """
    from trfcli_pipeline import training

    target = output or model
    console.if_interrupted(f"{target} was not changed")
    events = training.train_textcat(
        model,
        train,
        dev=dev,
        output=output,
        arguments=training.TrainingArguments(
            config=config,
            overrides=context.obj,
            dev_split=dev_split,
            exclusive=exclusive,
            architecture=architecture,
            balance=balance,
            segments=segments,
            max_texts=max_texts,
            epochs=epochs,
            batch_size=batch_size,
            learn_rate=learn_rate,
            patience=patience,
            eval_every=eval_every,
            checkpoint_every=checkpoint_every,
            freeze_encoder=freeze_encoder,
            freeze_layers=freeze_layers,
            lora=lora,
            precision=precision,
            seed=seed,
            device=device,
        ),
        resume=resume,
    )
    with console.progress(0, "training", unit="steps") as bar:
        for event in events:
            if not is_first_process():
                continue
            match event:
                case training.Planned():
                    messages.describe_plan(event, resume=resume)
                    bar.reset(total=event.steps)
                    bar.update(event.done_steps)
                case training.Stepped():
                    bar.set_postfix_str(f"loss {event.loss:.3f}", refresh=False)
                    bar.update()
                case training.Evaluated():
                    messages.describe_evaluation(event)
                case training.Checkpointed():
                    console.if_interrupted(
                        f"{target} was not changed. To continue from step {event.step:,}, run the "
                        "same command with --resume"
                    )
                case training.Finished():
                    bar.close()
                    messages.describe_result(event)


def is_first_process() -> bool:
    """Whether this is the process that prints, of those that torchrun may have started."""
    return os.environ.get("RANK", "0") == "0"
