"""`trf optimize`: of a pipeline, one that predicts faster."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trfcli import console, wording
from trfcli.options import ForceOption, JsonOption, ModelArgument, OutArgument

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.optimize import Measured, Started


def optimize(
    model: ModelArgument,
    out: OutArgument,
    calibrate: Annotated[
        str,
        typer.Option(
            "--calibrate",
            metavar="DATA",
            help="Real texts, to calibrate on and to measure with, by their score if they are "
            "labelled.",
            show_default=False,
        ),
    ],
    precision: Annotated[
        Literal["int8", "bf16", "fp32"], typer.Option(help="What the encoder computes in.")
    ] = "int8",
    backend: Annotated[
        Literal["openvino", "torch"], typer.Option(help="What runs it.")
    ] = "openvino",
    dev: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Labelled texts to measure with instead.", show_default=False
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            min=0,
            help="What it may cost at most: of 100 points of accuracy, or macro F of labels that "
            "don't exclude each other; of the cosine of rows without labels.",
            show_default="0.5 of a score, 1 of the cosine",
        ),
    ] = None,
    as_json: JsonOption = False,
    force: ForceOption = False,
) -> None:
    """Make of a pipeline one that predicts faster on a CPU, in fewer bits, unless that costs much.

    Example:
      trf optimize ./model ./fast --calibrate train.jsonl --dev dev.jsonl
      trf optimize ./model ./fast --calibrate texts.txt --precision bf16
    """
    from trfcli_pipeline.tasks import optimize as task

    events = task.optimize(
        model,
        out,
        calibrate,
        precision=precision,
        backend=backend,
        dev=dev,
        max_loss=max_loss,
        force=force,
    )
    for event in events:
        match event:
            case task.Started():
                describe_start(event, calibrate, calibrate if dev is None else dev)
            case task.Measured():
                if as_json:
                    console.data_json(asdict(event))
                else:
                    console.data_table(("", "before", "after", ""), table_rows(event))
            case task.Finished():
                size = wording.megabytes(event.size / 1e6)
                console.good(f"Saved {event.name} to {out} ({size}): {', '.join(event.components)}")
                console.hint(f"Next: trf package {out} ./out")


def describe_start(started: "Started", calibrate: str, measured: str) -> None:
    """Say what is calibrated and measured on."""
    if started.segments:
        number = wording.plural(started.segments, "segment")
        console.info(f"Calibrating on {number} of {calibrate}")
    texts = wording.plural(started.texts, "text")
    if started.texts < started.all_texts:
        texts = f"{texts} of {wording.thousands(started.all_texts)}"
    console.info(f"Measuring on {texts} of {measured}")


def table_rows(measured: "Measured") -> list[tuple[str, str, str, str]]:
    """What is measured, before and after, and how the two compare."""
    before, after = measured.before, measured.after
    rows = [
        (
            "words/s",
            wording.thousands(before.speed),
            wording.thousands(after.speed),
            f"{after.speed / before.speed:.2f} ×",
        ),
        (
            "size",
            wording.megabytes(before.size / 1e6),
            wording.megabytes(after.size / 1e6),
            f"{after.size / before.size:.2f} ×",
        ),
    ]
    if before.score is not None and after.score is not None:
        rows.append(
            (
                measured.figure,
                f"{before.score:.3f}",
                f"{after.score:.3f}",
                f"{-measured.loss:+.2f} points",
            )
        )
    rows.append(("cosine of rows", "", f"{measured.cosine:.4f}", ""))
    return rows
