"""`trf optimize`: quantize a pipeline for faster CPU inference."""

import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trfcli import console, wording
from trfcli.options import (
    DataSet,
    ForceOption,
    JsonOption,
    ModelArgument,
    OutArgument,
    data_option,
)

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.optimize import Compared, Sampled


def optimize(
    model: ModelArgument,
    out: OutArgument,
    calibrate: Annotated[
        DataSet,
        data_option(
            "--calibrate",
            metavar="DATA",
            help="Typical texts to calibrate on, such as the training set.",
            show_default=False,
        ),
    ],
    dev: Annotated[
        DataSet | None,
        data_option(
            "--dev",
            "-d",
            metavar="DATA",
            help="Labeled texts to compare both pipelines on.",
            show_default="the texts of --calibrate",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            min=0,
            help="Largest drop in accuracy allowed, in percentage points (macro F for "
            "multi-label classifiers, 100 x cosine without labels).",
            show_default="0.5; cosine 1",
        ),
    ] = None,
    precision: Annotated[
        Literal["int8", "bf16", "fp32"],
        typer.Option(metavar="TYPE", help="Number format of the encoder: int8, bf16 or fp32."),
    ] = "int8",
    backend: Annotated[
        Literal["openvino", "torch"],
        typer.Option(metavar="NAME", help="Library that runs the encoder: openvino or torch."),
    ] = "openvino",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Quantize a pipeline for faster CPU inference, unless accuracy drops too far.

    Example:
      trf optimize ./model ./fast --calibrate train.jsonl --dev dev.jsonl
      trf optimize ./model ./fast --calibrate texts.txt --precision bf16
    """
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(model, texts=[calibrate], labeled=[dev])

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
    with closing(events):
        for event in events:
            match event:
                case task.Sampled():
                    describe_sample(event, calibrate, calibrate if dev is None else dev)
                case task.Compared():
                    if as_json:
                        console.data_json(event.as_json())
                    else:
                        console.data_table(("", "before", "after", ""), table_rows(event))
                case task.Saved():
                    console.if_interrupted(f"{out} was already saved")
                    size = wording.megabytes(event.size / 1e6)
                    console.good(
                        f"Saved {event.name} to {out} ({size}): {', '.join(event.components)}"
                    )
                    console.hint(f"Next: trf package {shlex.quote(str(out))} ./out")


def describe_sample(sampled: "Sampled", calibrate: DataSet, dev: DataSet) -> None:
    """Say which texts the encoder is calibrated and compared on."""
    if sampled.segments:
        number = wording.plural(sampled.segments, "segment")
        console.info(f"Calibrating on {number} of {calibrate}")
    texts = wording.plural(sampled.all_texts, "text")
    if sampled.texts < sampled.all_texts:
        texts = f"{wording.thousands(sampled.texts)} of {texts}"
    console.info(f"Comparing the pipeline before and after on {texts} of {dev}")


def table_rows(compared: "Compared") -> list[tuple[str, str, str, str]]:
    """List each metric before and after, and how it changed."""
    before, after = compared.before, compared.after
    rows = [
        (
            "words/s",
            wording.thousands(before.speed),
            wording.thousands(after.speed),
            f"{after.speed / before.speed:.2f}×",
        ),
        (
            "size",
            wording.megabytes(before.size / 1e6),
            wording.megabytes(after.size / 1e6),
            f"{after.size / before.size:.2f}×",
        ),
    ]
    if before.score is not None and after.score is not None:
        change = wording.decimal(-compared.loss, 2, sign="+")
        rows.append(
            (compared.metric, f"{before.score:.3f}", f"{after.score:.3f}", f"{change} points")
        )
    rows.append(("cosine of vectors", "", f"{compared.cosine:.4f}", ""))
    return rows
