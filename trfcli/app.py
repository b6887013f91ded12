"""The `trf` program: its commands, the options they all take, and what becomes of errors."""

import inspect
import sys
import textwrap
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from trfcli import console
from trfcli.commands import (
    annotate,
    benchmark,
    compare,
    evaluate,
    info,
    init_model,
    inspect_alignment,
    optimize,
    package,
    train_textcat,
)
from trfcli.options import DebugOption, QuietOption

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports
VERSIONED = ("trfcli", "spacy", "torch", "transformers")


class Entry(NamedTuple):
    """A command: its function, its name, and the short name that does the same."""

    function: Callable[..., None]
    name: str
    alias: str | None = None


# In the order of `trf --help`, which is the order in which one needs them.
COMMANDS = (
    Entry(init_model.init_model, "init-model", "init"),
    Entry(inspect_alignment.inspect_alignment, "inspect-alignment", "inspect"),
    Entry(train_textcat.train_textcat, "train-textcat", "train"),
    Entry(evaluate.evaluate, "evaluate"),
    Entry(compare.compare, "compare"),
    Entry(annotate.annotate, "annotate"),
    Entry(benchmark.benchmark, "benchmark"),
    Entry(optimize.optimize, "optimize"),
    Entry(package.package, "package"),
    Entry(info.info, "info"),
)


# Typer carries its own copy of click, whose types have no public name: hence Any for contexts and
# parameters below.
class Group(TyperGroup):
    """`trf` itself: lists each command once, as `name, alias`, and knows it by both."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry in COMMANDS:
            if entry.alias is not None:
                command = self.commands[entry.name]
                command.name = f"{entry.name}, {entry.alias}"
                self.commands[entry.alias] = command

    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in COMMANDS]


class Command(TyperCommand):
    """A command that takes --quiet and --debug as `trf` does, and whose errors become messages."""

    SHARED = ("quiet", "debug")

    def get_params(self, ctx: Any) -> list[Any]:
        shared = [param for param in ctx.find_root().command.params if param.name in self.SHARED]
        *params, help_param = super().get_params(ctx)
        return [*params, *shared, help_param]

    def invoke(self, ctx: Any) -> Any:
        given = {name: ctx.params.pop(name) or ctx.parent.params[name] for name in self.SHARED}
        console.configure(**given)
        if not console.settings.debug:
            console.silence_libraries()
        try:
            value = super().invoke(ctx)
            # A pipe that was closed early shows here, rather than when Python exits and nothing can
            # catch it.
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except typer.BadParameter as error:
            error.ctx = error.ctx or ctx
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(report(error)) from error
        return value


class CommandWithOverrides(train_textcat.TakesOverrides, Command):
    """A command that also takes every setting of its config as an option."""


def report(error: BaseException) -> int:
    """Print what went wrong, in one line and its hint.

    Returns: The exit code.
    """
    if console.settings.debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        if sys.stderr.isatty():
            # The terminal has left the cursor behind its ^C.
            print(file=sys.stderr)
        console.fail(f"Interrupted; {console.settings.if_interrupted}.")
        return EXIT_INTERRUPTED

    from trfcli_pipeline.errors import SettingsError, TrfError

    match error:
        case SettingsError():
            console.fail(error.message, hint=error.hint)
            return EXIT_USAGE
        case TrfError():
            console.fail(error.message, hint=error.hint)
        case OSError() if error.strerror is not None:
            place = "" if error.filename is None else f"{error.filename}: "
            console.fail(f"{place}{error.strerror}")
        case _:
            text = textwrap.shorten(str(error), 300, placeholder=" ...")
            console.fail(
                f"{type(error).__name__}: {text}" if text else type(error).__name__,
                hint="This is a bug in trf; --debug shows the traceback.",
            )
    return EXIT_ERROR


def version_of(package: str) -> str:
    """The installed version of a package, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def print_version(wanted: bool) -> None:
    if wanted:
        python = ".".join(map(str, sys.version_info[:3]))
        rest = [f"{package} {version_of(package)}" for package in VERSIONED[1:]]
        console.data(f"trf {version_of(VERSIONED[0])}")
        console.data(", ".join([f"python {python}", *rest]))
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=print_version, is_eager=True, help="Print versions and exit."
    ),
]


def trf(
    quiet: QuietOption = False, debug: DebugOption = False, version: VersionOption = False
) -> None:
    """From a pretrained transformer to an installable spaCy pipeline, one command at a time.

    Example:
      trf init minilm ./model
      trf train-textcat ./model train.jsonl
      trf package ./model ./out
    """


def help_and_example(function: Callable[..., None]) -> tuple[str, str]:
    """Split a docstring into its sentence, for above the options, and its example, for below."""
    sentence, _, example = (inspect.getdoc(function) or "").partition("\n\n")
    # Typer dedents all lines but the first, which is therefore empty. Square brackets are markup.
    return sentence, "\n" + example.replace("[", r"\[")


def build() -> typer.Typer:
    """The Typer app with all commands."""
    app = typer.Typer(
        name="trf",
        cls=Group,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    sentence, example = help_and_example(trf)
    app.callback(help=sentence, epilog=example)(trf)
    for entry in COMMANDS:
        sentence, example = help_and_example(entry.function)
        is_training = entry.function is train_textcat.train_textcat
        cls = CommandWithOverrides if is_training else Command
        app.command(entry.name, cls=cls, help=sentence, epilog=example)(entry.function)
    return app


app = build()


def main() -> None:
    """The console script `trf`."""
    app(prog_name="trf")
