"""`trf predict`: try a text classifier on single texts."""

import os
import shlex
import sys
from typing import Annotated

import typer

from trfcli import console
from trfcli.options import DeviceOption, ModelArgument, ThresholdOption

_STDIN = "-"
_SHOWN_LABELS = 5


def predict(
    model: ModelArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="The texts; none or - to read one per line from stdin.",
            show_default=False,
        ),
    ] = None,
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
    from trfcli_pipeline.errors import DataError
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(model)

    from trfcli_pipeline.tasks import predict as task
    from trfcli_pipeline.tasks.single_texts import BlankLine

    given = None if texts in (None, [], [_STDIN]) else texts
    for text in filter(os.path.isfile, given or ()):
        command = f"trf annotate {shlex.quote(model)} {shlex.quote(text)} OUTPUT"
        console.warn(f"{text} is a file, but its name is taken as a text. For its texts: {command}")
    typed = given is None and sys.stdin is not None and sys.stdin.isatty()
    predictions = task.predict(model, given, threshold=threshold, device=device)
    if typed:
        console.end_status()
        console.info("Type a text and press Enter. Ctrl-D ends.")
    # A single text, or one that was typed, is on the screen already.
    with_text = not (typed and sys.stdout.isatty()) and (given is None or len(given) > 1)
    any_text = False
    for each in predictions:
        if isinstance(each, BlankLine):
            console.warn(f"stdin, line {each.line}: skipped, because it is empty")
            continue
        any_text = True
        if as_json:
            console.data_json(each.as_json(top_k), indent=None)
        else:
            print_prediction(each, top_k or _SHOWN_LABELS, with_text=with_text)
    if not any_text and not typed:
        raise DataError("stdin: no text", hint='Give it one: trf predict MODEL "A text."')
