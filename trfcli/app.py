"""The `trf` program: its commands, and the options that they share."""

import gc
import inspect
import platform
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trfcli import console
from trfcli.commands import (
    annotate,
    benchmark,
    check,
    compare,
    evaluate,
    explain,
    forecast,
    info,
    init_model,
    inspect_alignment,
    optimize,
    package,
    predict,
    push,
    suggest,
)
from trfcli.commands.train_textcat.command import train_textcat
from trfcli.help import HelpLayout
from trfcli.options import CodeOption, DebugOption, QuietOption
from trfcli.running import SHARED, Command, CommandWithOverrides
from trfcli.usage import refuse_empty, reported_usage

if TYPE_CHECKING:
    # Typer ships its own copy of click without public names for these types.
    from typer._click import Context, HelpFormatter, Parameter

VERSIONED = ("spacy", "torch", "transformers")

# The names of each command, the full name first, and its function. In the order of `trf --help`:
# the order in which users need them.
COMMANDS: dict[tuple[str, ...], Callable[..., None]] = {
    ("init-model", "init"): init_model.init_model,
    ("inspect-alignment", "inspect"): inspect_alignment.inspect_alignment,
    ("check",): check.check,
    ("suggest",): suggest.suggest,
    ("train-textcat", "train"): train_textcat,
    ("evaluate",): evaluate.evaluate,
    ("compare",): compare.compare,
    ("forecast",): forecast.forecast,
    ("predict",): predict.predict,
    ("explain",): explain.explain,
    ("annotate",): annotate.annotate,
    ("benchmark",): benchmark.benchmark,
    ("optimize",): optimize.optimize,
    ("package",): package.package,
    ("push",): push.push,
    ("info",): info.info,
}


class Group(HelpLayout, TyperGroup):
    """`trf` itself."""

    def make_context(
        self, info_name: str | None, args: list[str], *others: Any, **options: Any
    ) -> "Context":
        # Without arguments, the error is the help.
        with reported_usage() if args else nullcontext():
            return super().make_context(info_name, args, *others, **options)

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)
        refuse_empty(self.get_params(ctx), ctx.params, given)
        return rest

    def invoke(self, ctx: "Context") -> Any:
        with reported_usage():
            return super().invoke(ctx)

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        # The shared options and --help come last, as in the help of commands.
        return sorted(super().get_params(ctx), key=lambda param: param.name in (*SHARED, "help"))

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(", ".join(names), self.commands[names[0]].help or "") for names in COMMANDS]
            )
        super().format_options(ctx, formatter)


def print_versions(wanted: bool) -> None:
    """Print the versions of packages without importing them."""
    from importlib.metadata import version

    if wanted:
        packages = [f"{package} {version(package)}" for package in VERSIONED]
        console.data(f"trf {version('trfcli')}")
        console.data(", ".join([f"python {platform.python_version()}", *packages]))
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=print_versions, is_eager=True, help="Print versions and exit."
    ),
]


def trf(
    version: VersionOption = False,
    code: CodeOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """From a pretrained transformer to an installable spaCy pipeline, one command at a time.

    Example:
      trf init minilm ./model
      trf train-textcat ./model train.jsonl
      trf package ./model ./out
    """


def help_and_example(function: Callable[..., None]) -> tuple[str, str]:
    """Split a docstring into its first sentence and the lines of its example."""
    sentence, _, example = (inspect.getdoc(function) or "").partition("\n\nExample:\n")
    return sentence, textwrap.dedent(example)


def build() -> typer.Typer:
    """Return the Typer app with all commands."""
    app = typer.Typer(
        name="trf",
        cls=Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    sentence, example = help_and_example(trf)
    app.callback(help=sentence, epilog=example)(trf)
    for names, function in COMMANDS.items():
        sentence, example = help_and_example(function)
        cls = CommandWithOverrides if function is train_textcat else Command
        for name in names:
            # The help lists the short name beside the full one, and completion skips it.
            hidden = name != names[0]
            app.command(name, cls=cls, help=sentence, epilog=example, hidden=hidden)(function)
    return app


app = build()


def main() -> None:
    """The console script `trf`."""
    try:
        app(prog_name="trf")
    finally:
        # Or Python visits all objects of torch and spaCy before it exits, which takes a second.
        gc.freeze()
