"""`trf package`: from a pipeline's directory to a Python package."""

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
        typer.Argument(
            metavar="OUT", help="Directory to make the package's directory in.", show_default=False
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the package.", show_default="that of the pipeline"
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Version of the package.", show_default="that of the pipeline"
        ),
    ] = None,
    build: Annotated[
        str,
        typer.Option(
            "--build", "-B", metavar="FORMATS", help="sdist, wheel, both with a comma, or none."
        ),
    ] = "sdist,wheel",
    force: ForceOption = False,
) -> None:
    """Make an installable Python package of a pipeline.

    Example:
      trf package ./model ./out
      trf package ./model ./out --name spam_filter --version 1.0.0 --build wheel
    """
    from trfcli_pipeline.tasks import package as task

    formats = [each.strip() for each in build.split(",") if each.strip() not in ("", "none")]
    files = task.package(model, out, name=name, version=version, formats=formats, force=force)
    here = Path.cwd()
    # Short enough to be copied.
    files = [file.relative_to(here) if file.is_relative_to(here) else file for file in files]
    for file in files:
        size = wording.megabytes(file.stat().st_size / 1e6)
        console.good(f"Built {file} ({size})")
    if files:
        console.hint(f"Next: pip install {files[-1]}")
    else:
        console.good(f"Made the package's directory in {out}")
