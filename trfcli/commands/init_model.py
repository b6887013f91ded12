"""`trf init-model`: from a pretrained encoder to a spaCy pipeline."""

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
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A hub id, a directory with a model's files, or minilm, the packaged encoder.",
            show_default=False,
        ),
    ],
    out: OutArgument,
    lang: Annotated[
        str, typer.Option("--lang", "-l", metavar="CODE", help="Language of the texts.")
    ] = "en",
    pipeline_name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the pipeline; by default trf_ and the encoder's.",
            show_default=False,
        ),
    ] = None,
    words_per_batch: Annotated[
        Any,
        typer.Option(
            parser=parse_words_per_batch,
            metavar="N",
            help="Wordpieces that are encoded together, padding included; 0 for no limit, auto "
            "for as many as fit.",
            show_default="2000",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Branch, tag or commit on the hub.", show_default=False),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Make a spaCy pipeline around a pretrained transformer.

    Example:
      trf init minilm ./model
      trf init bert-base-german-cased ./model --lang de
    """
    from trfcli_pipeline.data.files import directory_bytes
    from trfcli_pipeline.pipeline.loading import init_pipeline

    nlp, encoder = init_pipeline(
        name,
        out,
        lang=lang,
        pipeline=pipeline_name,
        words_per_batch=words_per_batch,
        revision=revision,
        force=force,
    )
    console.good(
        f"Loaded {encoder['name']} ({encoder['model_type']}, {encoder['layers']} layers, "
        f"width {encoder['width']}, {wording.millions(encoder['parameters'])} parameters) "
        f"from {encoder['source']}"
    )
    size = wording.megabytes(directory_bytes(out) / 1e6)
    console.good(
        f"Saved {nlp.meta['lang']}_{nlp.meta['name']} to {out} ({size}): "
        f"{', '.join(nlp.pipe_names)}"
    )
    console.hint(f"Next: trf train-textcat {out} train.jsonl")
