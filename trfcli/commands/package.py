"""`trf package`: build a Python package from a pipeline directory."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from trfcli import console, wording
from trfcli.options import ForceOption


def package(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Directory of a pipeline.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Directory to put the package in.", show_default=False),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Package name, without the language.",
            show_default="the pipeline's name",
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Package version.", show_default="the pipeline's version"
        ),
    ] = None,
    build: Annotated[
        str,
        typer.Option(
            "--build",
            "-B",
            metavar="FORMATS",
            help="Archives to build: sdist, wheel, both separated by a comma, or none.",
        ),
    ] = "sdist,wheel",
    force: ForceOption = False,
) -> None:
    """Build an installable Python package from a pipeline.

    Example:
      trf package ./model ./out
      trf package ./model ./out --name spam --version 1.0.0
    """
    from trfcli_pipeline.tasks import package as task

    formats = [each.strip() for each in build.split(",") if each.strip() not in ("", "none")]
    files = task.package(model, out, name=name, version=version, formats=formats, force=force)
    console.if_interrupted("the package was already saved")
    here = Path.cwd()
    files = [file.relative_to(here) if file.is_relative_to(here) else file for file in files]
    for file in files:
        size = wording.megabytes(file.stat().st_size / 1e6)
        console.good(f"Built {file} ({size})")
    if files:
        console.hint(f"Next: pip install {shlex.quote(str(files[-1]))}")
    else:
        console.good(f"Wrote the package source to {out}")
