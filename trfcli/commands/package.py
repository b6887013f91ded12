"""`trf package`: build a Python package from a pipeline directory."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trfcli import console, wording
from trfcli.options import DataSet, ForceOption, code_option, data_option

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.half import Halved
    from trfcli_pipeline.tasks.verification import Verified


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
    half: Annotated[
        bool,
        typer.Option(
            "--half", help="Store the encoder's weights in 16 bits, and show what that costs."
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Install the wheel into a fresh environment without network, and compare its "
            "predictions.",
        ),
    ] = False,
    texts: Annotated[
        DataSet | None,
        data_option(
            "--texts",
            metavar="DATA",
            help="Texts to compare predictions on for --half and --verify.",
            show_default="built-in texts",
        ),
    ] = None,
    code: Annotated[
        Path | None,
        code_option(
            help="Python file with functions that the pipeline needs; the package has a copy."
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Build an installable Python package from a pipeline.

    Example:
      trf package ./model ./out
      trf package ./model ./out --name spam --version 1.0.0
      trf package ./model ./out --half --verify
    """
    from trfcli_pipeline.tasks.inputs import check_inputs

    check_inputs(str(model), texts=[texts])

    from trfcli_pipeline.tasks import package as task

    formats = [each.strip() for each in build.split(",") if each.strip() not in ("", "none")]
    built = task.package(
        model,
        out,
        name=name,
        version=version,
        formats=formats,
        half=half,
        verify=verify,
        texts=texts,
        code=code,
        force=force,
    )
    console.if_interrupted("the package was already saved")
    if built.halved is not None:
        describe_halved(built.halved)
    if not built.archives:
        console.good(f"Wrote the package source to {out}")
        return
    for file in built.archives:
        describe_file(file)
    if built.verified is not None:
        describe_verified(built.verified)
    if built.own_wheel is not None:
        describe_file(built.own_wheel, note=f", which {built.name} requires")
    elif built.without_own_wheel is not None:
        console.warn(
            f"The package requires trfcli, whose wheel can't be built: {built.without_own_wheel}. "
            "Install trfcli first wherever you install the package"
        )
    dist = shlex.quote(str(built.archives[0].parent))
    console.hint(f"Next: pip install --find-links {dist} {built.name}=={built.version}")


def describe_file(file: Path, note: str = "") -> None:
    """Say that an archive was built."""
    console.good(f"Built {file} ({wording.megabytes(file.stat().st_size / 1e6)}){note}")


def describe_halved(halved: "Halved") -> None:
    """Say what it costs to store the weights in 16 bits."""
    before, after = (wording.megabytes(size / 1e6) for size in (halved.before, halved.after))
    change = (
        f"the cosine of token vectors before and after is at least {halved.cosine:.6f}"
        if halved.score_change is None
        else f"scores change by at most {halved.score_change:.2g}"
    )
    texts = wording.plural(halved.texts, "text")
    console.info(f"Stored the weights in 16 bits: {after} instead of {before}; {change} ({texts})")


def describe_verified(verified: "Verified") -> None:
    """Say what the installed wheel was compared in."""
    texts = wording.plural(verified.texts, "text")
    console.good(
        "Verified the wheel in a fresh environment without network: "
        f"{', '.join(verified.parts)} of {texts} are the same, bit for bit"
    )
