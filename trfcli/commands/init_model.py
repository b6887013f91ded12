"""`trf init-model`: create a spaCy pipeline from a pretrained encoder."""

import shlex
from typing import Annotated, Any

import typer

from trfcli import console, wording
from trfcli.options import ForceOption, OutArgument


def parse_words_per_batch(value: str) -> int | str:
    """A number of wordpieces, or "auto"."""
    if value == "auto":
        return value
    if not value.isdecimal():
        raise typer.BadParameter(f"{value!r} is neither auto nor a number of wordpieces.")
    return int(value)


def init_model(
    encoder: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Hub id or directory of a model, or minilm (packaged).",
            show_default=False,
        ),
    ],
    out: OutArgument,
    lang: Annotated[
        str, typer.Option("--lang", "-l", metavar="CODE", help="Language of the texts.")
    ] = "en",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the pipeline.", show_default="trf_ and the encoder's name"
        ),
    ] = None,
    force: ForceOption = False,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Branch, tag or commit on the hub.", show_default="main"),
    ] = None,
    words_per_batch: Annotated[
        Any,
        typer.Option(
            parser=parse_words_per_batch,
            metavar="N",
            help="Wordpieces to encode at once, padding included; 0: no limit, auto: as many as "
            "fit in memory.",
            show_default="2000 on a CPU, auto elsewhere",
        ),
    ] = None,
) -> None:
    """Create a spaCy pipeline from a pretrained transformer.

    Example:
      trf init minilm ./model
      trf init bert-base-german-cased ./model --lang de
    """
    from trfcli_pipeline.data.files import directory_bytes
    from trfcli_pipeline.tasks import init_model as task

    nlp, facts = task.init_model(
        encoder,
        out,
        lang=lang,
        name=name,
        words_per_batch=words_per_batch,
        revision=revision,
        force=force,
    )
    console.if_interrupted(f"{out} was already saved")
    console.good(
        f"Loaded {facts['name']} ({facts['model_type']}, {facts['layers']} layers, "
        f"width {facts['width']}, {wording.millions(facts['parameters'])} parameters) "
        f"from {facts['source']}"
    )
    size = wording.megabytes(directory_bytes(out) / 1e6)
    console.good(
        f"Saved {nlp.meta['lang']}_{nlp.meta['name']} to {out} ({size}): "
        f"{', '.join(nlp.pipe_names)}"
    )
    console.hint(f"Next: trf train-textcat {shlex.quote(str(out))} train.jsonl")
