"""`trf optimize`: make a pipeline faster on a CPU or GPU."""

import shlex
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trfcli import console, wording
from trfcli.options import (
    DataSet,
    DeviceOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    OutArgument,
    data_option,
)

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.optimize import Decided, Sampled


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
        Literal["auto", "int8", "bf16", "fp16", "tf32", "fp32"],
        typer.Option(
            metavar="TYPE",
            help="Number format of the encoder: int8, bf16, fp16, tf32 or fp32. auto tries those "
            "that the device supports, and keeps the fastest.",
        ),
    ] = "auto",
    backend: Annotated[
        Literal["openvino", "torch"] | None,
        typer.Option(
            metavar="NAME",
            help="Library that runs the encoder: openvino or torch.",
            show_default="the fastest",
        ),
    ] = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a pipeline faster on a CPU or GPU, unless accuracy drops too far.

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
        device=device,
        dev=dev,
        max_loss=max_loss,
        force=force,
    )
    with closing(events):
        for event in events:
            match event:
                case task.Sampled():
                    describe_sample(event, calibrate, calibrate if dev is None else dev)
                    place = event.device
                case task.Decided():
                    describe_result(event, place, as_json=as_json)
                case task.Saved():
                    console.if_interrupted(f"{out} was already saved")
                    size = wording.megabytes(event.size / 1e6)
                    console.good(
                        f"Saved {event.name} to {out} ({size}): {', '.join(event.components)}"
                    )
                    console.hint(f"Next: trf package {shlex.quote(str(out))} ./out")


def describe_result(decided: "Decided", device: str, *, as_json: bool) -> None:
    """Print the metrics of the original and of all that was tried."""
    if as_json:
        console.data_json(as_object(decided, device))
        return
    for each in decided.tried:
        if each.problem is not None:
            console.warn(f"{each.inference}: {each.problem}")
    if any(each.compared for each in decided.tried):
        header, *rows = table(decided)
        console.data_table(header, rows)


def describe_sample(sampled: "Sampled", calibrate: DataSet, dev: DataSet) -> None:
    """Say which texts the encoder is calibrated and compared on."""
    from trfcli_pipeline.tasks.optimize import ENOUGH_TEXTS

    if sampled.unknown_labels:
        number = wording.plural(len(sampled.unknown_labels), "label")
        labels = wording.enumeration(sampled.unknown_labels)
        console.warn(
            f"{calibrate}: {number} not in the model ({labels}), so token vectors are compared "
            "instead of scores"
        )
    if sampled.segments:
        number = wording.plural(sampled.segments, "segment")
        console.info(f"Calibrating on {number} of {calibrate}")
    texts = wording.plural(sampled.all_texts, "text")
    if sampled.texts < sampled.all_texts:
        texts = f"{wording.thousands(sampled.texts)} of {texts}"
    names = wording.enumeration([str(each) for each in sampled.candidates])
    console.info(f"Trying {names} on {sampled.device}, with {texts} of {dev}")
    if sampled.texts < ENOUGH_TEXTS:
        console.warn(
            f"With fewer than {ENOUGH_TEXTS} texts to compare on, a loss may go unnoticed: "
            "give more with --dev"
        )


def table(decided: "Decided") -> list[list[str]]:
    """A header, and a row for the original and for each precision that can be used."""
    found = [(each, each.compared) for each in decided.tried if each.compared is not None]
    _, first = found[0]
    has_score = first.before.score is not None
    # Each was measured in turns with the original, whose speed varies with the machine's load.
    speed = median(compared.before.speed for _, compared in found)
    rows = [["", "words/s", "", "size", *([first.metric] if has_score else []), "cosine", ""]]
    scores = [f"{first.before.score:.3f}"] if has_score else []
    size = wording.megabytes(first.before.size / 1e6)
    rows.append(["original", wording.thousands(speed), "", size, *scores, "", ""])
    for each, compared in found:
        scores = [f"{compared.after.score:.3f}"] if has_score else []
        rows.append(
            [
                str(each.inference),
                wording.thousands(speed * compared.speedup),
                f"{compared.speedup:.2f}×",
                wording.megabytes(compared.after.size / 1e6),
                *scores,
                f"{compared.cosine:.4f}",
                "chosen" if each is decided.chosen else "",
            ]
        )
    return rows


def as_object(decided: "Decided", device: str) -> dict[str, Any]:
    """The metrics of all that was tried, for JSON."""
    return {
        "device": device,
        "tried": [
            {
                "precision": each.inference.precision,
                "backend": each.inference.backend,
                "chosen": each is decided.chosen,
                "problem": each.problem,
                **(each.compared.as_json() if each.compared else {}),
            }
            for each in decided.tried
        ],
    }
