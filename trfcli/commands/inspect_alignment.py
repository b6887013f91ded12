"""`trf inspect-alignment`: show how the tokens of a text are aligned with wordpieces."""

import sys
from typing import Annotated

import typer

from trfcli import console
from trfcli.options import JsonOption


def inspect_alignment(
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="The text, or - to read it from stdin.", show_default=False
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            envvar="TRF_MODEL",
            help="Directory or name of a pipeline or encoder.",
        ),
    ] = "minilm",
    as_json: JsonOption = False,
) -> None:
    """Show which wordpieces each token is aligned with, and how much of each it gets.

    Example:
      trf inspect "Zürich's cafés reopened. Unbelievable!"
      trf inspect - --model ./model --json < text.txt
    """
    from trfcli_pipeline.errors import DataError

    if text == "-":
        text = read_stdin()
    if not text:
        raise DataError("nothing to inspect: the text is empty")

    from trfcli_pipeline.tasks import inspect_alignment

    report = inspect_alignment.inspect_alignment(text, model)
    if as_json:
        console.data_json(report)
        return

    from trfcli.rendering.alignment import print_alignment

    print_alignment(report)


def read_stdin() -> str:
    """Read the text on stdin, without the newline that `echo` and editors add at the end."""
    from trfcli_pipeline.errors import DataError

    if sys.stdin.isatty():
        console.info("Type or paste a text, then press Ctrl-D on an empty line")
    content = sys.stdin.buffer.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"stdin, byte {error.start}: not valid UTF-8",
            hint="Convert the text first, for example with: iconv -f latin1 -t utf-8",
        ) from error
    return text.removesuffix("\n").removesuffix("\r")
