"""`trf predict`: try a text classifier on single texts."""

import shlex
import sys
from typing import Annotated

import typer

from trfcli import console
from trfcli.options import DeviceOption, ModelArgument, ThresholdOption
from trfcli.single_texts import TextsArgument, are_typed, given_texts, results

_SHOWN_LABELS = 5


def predict(
    model: ModelArgument,
    texts: TextsArgument = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            metavar="N",
            min=1,
            help="Labels per text, by descending score. Predicted labels are always shown.",
            show_default=f"{_SHOWN_LABELS}, or all with --json",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per text.")
    ] = False,
    threshold: ThresholdOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Predict the labels of single texts, to try a model.

    Example:
      trf predict ./model "I was charged twice" "The app crashes"
      trf predict ./model --json < texts.txt
      trf predict ./model
    """
    from trfcli.rendering.predictions import print_prediction
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(model)

    from trfcli_pipeline.tasks import predict as task

    def advise(file: str) -> str:
        return f"For its texts: trf annotate {shlex.quote(model)} {shlex.quote(file)} OUTPUT"

    given = given_texts(texts, advise)
    found = task.predict(model, given, threshold=threshold, device=device)
    # A single text, or one that was typed, is on the screen already.
    with_text = not (are_typed(given) and sys.stdout.isatty()) and (given is None or len(given) > 1)
    for each in results(found, given, "trf predict"):
        if as_json:
            console.data_json(each.as_json(top_k), indent=None)
        else:
            print_prediction(each, top_k or _SHOWN_LABELS, with_text=with_text)
