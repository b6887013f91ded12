"""`trf explain`: show which tokens a prediction is due to."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import (
    DataSet,
    DeviceOption,
    ModelArgument,
    ThresholdOption,
    data_option,
    html_option,
)
from trfcli.single_texts import TextsArgument, given_texts, results

if TYPE_CHECKING:
    from trfcli_pipeline.evaluation.deletion import Faithfulness


def explain(
    model: ModelArgument,
    texts: TextsArgument = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="The label to explain.", show_default="each predicted label"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=1000,
            help="Gradients to average; 1 is gradient x input, which is fast but inexact.",
            show_default="16 to 256, as needed",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        html_option(help="Also write an HTML page."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per text and label.")
    ] = False,
    faithfulness: Annotated[
        DataSet | None,
        data_option(
            metavar="DATA",
            help="Test on these texts how much the score drops without the tokens that add most.",
            show_default=False,
        ),
    ] = None,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Show what each token adds to the score of a predicted label.

    Example:
      trf explain ./model "I was charged twice"
      trf explain ./model --html explained.html < texts.txt
      trf explain ./model --faithfulness test.jsonl
    """
    if faithfulness is not None:
        if texts or html is not None:
            raise typer.BadParameter("--faithfulness takes neither TEXT nor --html")
        _measure(model, faithfulness, label=label, steps=steps, as_json=as_json, device=device)
        return

    from trfcli.rendering.explanations import print_explanation
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(model)

    from trfcli_pipeline.tasks import explain as task

    def advise(file: str) -> str:
        return f"For its lines: trf explain {shlex.quote(model)} < {shlex.quote(file)}"

    given = given_texts(texts, advise)
    explanations = task.explain(
        model, given, label=label, steps=steps, threshold=threshold, html=html, device=device
    )
    for each in results(explanations, given, "trf explain"):
        if as_json:
            console.data_json(each.as_json(), indent=None)
        else:
            print_explanation(each)
    if html is not None:
        console.good(f"Wrote {html}")


def _measure(
    model: str,
    data: DataSet,
    *,
    label: str | None,
    steps: int | None,
    as_json: bool,
    device: str,
) -> None:
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(model, texts=[data])

    from trfcli_pipeline.tasks.faithfulness import measure_faithfulness

    result = measure_faithfulness(model, data, label=label, steps=steps, device=device)
    if as_json:
        console.data_json(result.as_json())
    else:
        show_faithfulness(result)


def show_faithfulness(result: "Faithfulness") -> None:
    """Print how much scores drop without top and without random tokens."""
    left_out = f", {result.n_short:,} left out as too short" if result.n_short else ""
    console.data_line(f"{wording.plural(result.n_texts, 'text')}{left_out}")
    rows = [
        (f"the {result.n_deleted} that add most", result.top_drop, result.top_interval),
        (
            f"{result.n_deleted} random ones, {result.draws} draws",
            result.random_drop,
            result.random_interval,
        ),
    ]
    console.data_table(
        ("deleted tokens", "mean drop of the score", "95% CI"),
        [(name, f"{drop:.3f}", f"{low:.3f} to {high:.3f}") for name, drop, (low, high) in rows],
    )
    if result.ratio is None:
        console.data_line("Random tokens don't lower the score, so there is no ratio.")
    else:
        interval = ""
        if result.ratio_interval is not None:
            low, high = result.ratio_interval
            interval = f" (95% CI {low:.1f} to {high:.1f})"
        console.data_line(
            f"Those that add most: {result.ratio:.1f} times the drop of random tokens{interval}"
        )
