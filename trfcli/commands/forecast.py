"""`trf forecast`: how much a text classifier gains from more labeled texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    DataArgument,
    DataSet,
    DeviceOption,
    JsonOption,
    data_option,
    pipeline_argument,
    seed_option,
)

if TYPE_CHECKING:
    from trfcli_pipeline.curation.extrapolation import Band
    from trfcli_pipeline.tasks.forecast import Forecast

_SHOWN_LABELS = 5


def forecast(
    model: Annotated[
        str,
        pipeline_argument(
            metavar="MODEL", help="Directory or name of a pipeline, or an encoder such as minilm."
        ),
    ],
    data: DataArgument,
    dev: Annotated[
        DataSet | None,
        data_option(
            "--dev",
            "-d",
            metavar="FILE",
            help="Labeled texts to score on.",
            show_default="the texts themselves, cross-fitted",
        ),
    ] = None,
    more: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of further texts to forecast the score for.",
            show_default="as many as there are",
        ),
    ] = None,
    as_json: JsonOption = False,
    seed: Annotated[int, seed_option(help="Seed of all random numbers.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Forecast what more labeled texts would gain, from the learning curve of those there are.

    Example:
      trf forecast minilm train.jsonl
      trf forecast ./model train.jsonl --dev dev.jsonl --more 1000
    """
    from trfcli_pipeline.tasks import forecast as task

    result = task.forecast(
        model, DataSet.joined(data), dev=dev, more=more, seed=seed, device=device
    )
    if as_json:
        console.data_json(result.as_json())
    else:
        show(result)


def show(result: "Forecast") -> None:
    """Print the forecast, the curve, the labels that gain most, and the baseline."""
    from trfcli.rendering.curve import Point, draw_curve
    from trfcli_pipeline.evaluation.metric_names import metric_name

    name, total = metric_name(result.metric), result.n_texts + result.n_more
    where = "cross-fitted" if result.dev is None else f"on {result.dev}"
    texts = wording.plural(result.n_texts, "text")
    console.data_line(
        f"{name} {_band(result.now)} with {texts}, by the fitted curve (frozen encoder, {where})."
    )
    console.data_line(f"{result.n_more:,} more should give {_range(result.then)}{_leader(result)}.")
    measured = [
        Point(size, each.value, each.low, each.high)
        for size, each in zip(result.sizes, result.measured, strict=True)
    ]
    then = Point(total, result.then.value, result.then.low, result.then.high)
    for line in draw_curve(measured, [then], console.data_width()):
        console.data(line)
    console.data_line("Texts: logarithmic scale", "● measured", "○ forecast", "│ 80% interval")
    if result.label_gains:
        console.data_table(
            ("label", "F now", "gain", "80% interval"),
            [
                (
                    label,
                    wording.decimal(f, 2),
                    wording.decimal(gain.value, 2, sign="+"),
                    f"{wording.decimal(gain.low, 2, sign='+')} to "
                    f"{wording.decimal(gain.high, 2, sign='+')}",
                )
                for label, (f, gain) in [*result.label_gains.items()][:_SHOWN_LABELS]
            ],
        )
    other = result.separability
    console.data_line(
        f"Measured with {wording.plural(other.n_train, 'text')}: "
        f"frozen encoder {other.encoder.value:.2f}, bag of words {other.words.value:.2f} "
        f"(difference {wording.decimal(other.difference.low, 2, sign='+')} to "
        f"{wording.decimal(other.difference.high, 2, sign='+')})"
    )
    for warning in result.warnings:
        console.warn(warning)


def _leader(result: "Forecast") -> str:
    """Which label gains most, if that isn't just chance."""
    first = next(iter(result.label_gains.items()), None)
    if first is None or first[1][1].low <= 0:
        return ""
    return f"; {first[0]} gains most"


def _band(band: "Band") -> str:
    return f"{band.value:.2f} ({_range(band)})"


def _range(band: "Band") -> str:
    return f"{band.low:.2f} to {band.high:.2f}"
