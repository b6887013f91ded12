"""The `trf` program: its commands, the options they share, and the exit codes of errors."""

import gc
import inspect
import os
import platform
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
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
from trfcli.commands.train_textcat.command import is_first_process, train_textcat
from trfcli.commands.train_textcat.overrides import TakesOverrides
from trfcli.data_options import ReadsData
from trfcli.errors import Terminated, report
from trfcli.help import HelpLayout
from trfcli.options import CodeOption, DebugOption, QuietOption
from trfcli.remarks import show_remarks
from trfcli.usage import parameter_name, reported_usage

if TYPE_CHECKING:
    # Typer ships its own copy of click without public names for these types.
    from typer._click import Context, HelpFormatter, Parameter

VERSIONED = ("spacy", "torch", "transformers")
SHARED = ("code", "quiet", "debug")
# How often a waiting thread of libgomp looks for new work before it sleeps. By default 30 times as
# often: beside a busy process, threads then spend most of their time waiting for one that has lost
# its core. With fewer rounds than these, training is slower on an idle machine.
_SPIN_COUNT = "10000"


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Raise `Terminated` when the process is asked to end, unless it ignores that (`nohup`)."""

    def terminate(number: int, _: object) -> None:
        # Cleaning up isn't to be interrupted.
        for each in replaced:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) == signal.SIG_DFL:
                replaced[number] = signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


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


def limit_spinning() -> None:
    """Let torch's waiting threads give up their cores soon. Call this before importing torch."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)


class Command(HelpLayout, ReadsData):
    """A command that accepts the shared options like `trf`, and prints errors as messages."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        *params, help_param = super().get_params(ctx)
        shared = [param for param in ctx.find_root().command.params if param.name in SHARED]
        own = {param.name for param in params}
        return [*params, *(param for param in shared if param.name not in own), help_param]

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        # "" becomes the path ".", which may be meant elsewhere.
        has_blank = any(arg == "" or (arg[:2] == "--" and arg[-1] == "=") for arg in args)
        rest = super().parse_args(ctx, args)
        for param in self.params if has_blank else ():
            if ctx.params.get(param.name or "") == Path():
                raise typer.BadParameter(f"{parameter_name(param)} is empty")
        return rest

    def invoke(self, ctx: "Context") -> None:
        given = {name: ctx.params.pop(name) or ctx.find_root().params[name] for name in SHARED}
        # A command gets those that it has itself.
        ctx.params |= {
            param.name: given[param.name] for param in self.params if param.name in given
        }
        code = given.pop("code")
        console.configure(**given)
        if not console.settings.debug:
            console.silence_libraries()
        if is_first_process():
            show_remarks()
        limit_spinning()
        for param in self.params:
            # Such as the value of a shell variable that isn't set.
            if _is_empty(ctx.params.get(param.name or "")):
                raise typer.BadParameter(f"{parameter_name(param)} is empty")
        try:
            silently = not is_first_process() or reads_typed_text(ctx) or is_for_programs(ctx)
            with (
                terminated_like_interrupted(),
                console.working(f"Running {ctx.command_path}", silently=silently),
            ):
                if code is not None:
                    from trfcli_pipeline.pipeline.user_code import import_code

                    import_code(code)
                super().invoke(ctx)
            # Report a closed pipe now. When Python exits, nothing can catch the error.
            sys.stdout.flush()
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(report(error)) from error


def reads_typed_text(ctx: "Context") -> bool:
    """Whether a command reads what is typed on a terminal, where nothing should be drawn then."""
    return "-" in map(str, ctx.params.values()) and sys.stdin is not None and sys.stdin.isatty()


def _is_empty(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_empty, value))
    return value is not None and not isinstance(value, tuple) and str(value) == ""


def is_for_programs(ctx: "Context") -> bool:
    """Whether a program may read all that a command prints."""
    return bool(ctx.params.get("as_json")) and not sys.stderr.isatty()


class CommandWithOverrides(TakesOverrides, Command):
    """A command that also takes every setting of its config as an option."""


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
