"""`trf suggest`: choose the texts to label next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    DataSet,
    DeviceOption,
    data_option,
    output_option,
    pipeline_argument,
    seed_option,
    texts_argument,
)

if TYPE_CHECKING:
    from trfcli_pipeline.curation.stability import Stability
    from trfcli_pipeline.tasks.suggest import Suggestions


def suggest(
    model: Annotated[
        str,
        pipeline_argument(
            metavar="MODEL",
            help="Directory or name of a pipeline, or an encoder such as minilm. Its text "
            "classifier is used if there is no --labeled.",
        ),
    ],
    pool: Annotated[
        DataSet,
        texts_argument(
            metavar="POOL",
            help="Texts to choose from, in any format that trf reads; - reads JSONL from stdin.",
            show_default=False,
        ),
    ],
    n: Annotated[
        int, typer.Option("--number", "-n", metavar="N", help="Number of texts to suggest.")
    ] = 50,
    labeled: Annotated[
        list[DataSet] | None,
        data_option(
            "--labeled",
            "--labelled",
            metavar="FILE",
            help="Texts that are labeled already, the latest at the end. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(help="File to label: .jsonl (doccano), .json (Label Studio), .csv or .tsv."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="TOOL",
            help="doccano, label-studio, prodigy, csv or tsv. Without --output, the file is "
            "printed.",
            show_default="by the suffix of the output",
        ),
    ] = None,
    seed: Annotated[int, seed_option(help="The same seed suggests the same texts.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Suggest which texts to label next, and say why.

    Example:
      trf suggest minilm pool.jsonl -n 50 -o batch.csv
      trf suggest minilm pool.jsonl --labeled train.jsonl -o batch.json
      trf suggest ./trained pool.csv --format prodigy > batch.jsonl
    """
    from trfcli_pipeline.data.formats.json import escape_invisible
    from trfcli_pipeline.tasks import suggest as task
    from trfcli_pipeline.tasks.suggestion_files import render

    found = task.suggest(
        model,
        pool,
        n=n,
        labeled=DataSet.joined(labeled) if labeled else None,
        output=output,
        format=format,
        seed=seed,
        device=device,
    )
    if output is None and format is not None:
        content = render(found.suggestions, format).removesuffix("\n")
        # In JSON, characters that a terminal would act on can be escaped.
        is_json = format not in ("csv", "tsv")
        console.data(escape_invisible(content) if is_json else content)
    elif output is None:
        show(found)
    else:
        console.if_interrupted(f"{output} was already saved")
        console.good(
            f"Wrote {wording.plural(len(found.suggestions), 'text')} to label to {output}; "
            f"{chosen_from(found)}"
        )
    if found.is_uniform:
        console.info(
            "The labeled texts don't differ in their labels: suggested as if without labels"
        )
    if found.stability is not None:
        console.info(describe(found.stability))


def show(found: "Suggestions") -> None:
    """Print each text with its place in the pool and the reason to label it."""
    from trfcli.rendering.mistakes import excerpt

    console.data_line(
        f"{wording.plural(len(found.suggestions), 'text')} to label next, {chosen_from(found)}:"
    )
    for each in found.suggestions:
        console.data_line(
            f'{each.record.place} "{excerpt(each.record.text)}": {each.reason}', indent=2
        )


def chosen_from(found: "Suggestions") -> str:
    """Say how many texts the suggestions were chosen from, and which were left out."""
    from trfcli_pipeline.tasks.suggest import left_out

    others = left_out(found.pool)
    without = f" (left out: {others})" if others else ""
    return f"chosen from {wording.thousands(len(found.pool.records))}{without}"


def describe(stability: "Stability") -> str:
    """Say what the latest labels changed, and whether more of them are worth it."""
    from trfcli_pipeline.curation.stability import BATCHES, STABLE_KAPPA

    number = wording.plural(stability.batch, "label")
    last = f"The last {number} changed the prediction for {wording.percent(stability.changed)} of "
    agreement = f"the pool (kappa {stability.kappas[0]:.3f})"
    if stability.is_stable:
        advice = (
            f"over the last {len(stability.kappas)} batches, kappa is {stability.mean_kappa:.3f} "
            f"in the mean. From {STABLE_KAPPA} on, more labels rarely change much: you can stop"
        )
    elif stability.kappas[0] >= STABLE_KAPPA:
        advice = (
            "one batch isn't enough to tell: label more until the mean kappa of the last "
            f"{BATCHES} batches is at least {STABLE_KAPPA}"
        )
    else:
        advice = f"more labels are still worth it, until kappa stays above {STABLE_KAPPA}"
    return f"{last}{agreement}; {advice}"
