"""How every command runs: with the shared options, signals, and errors as messages."""

import os
import sys
from typing import TYPE_CHECKING

import typer

from trfcli import console
from trfcli.commands.train_textcat.command import is_first_process
from trfcli.commands.train_textcat.overrides import TakesOverrides
from trfcli.data_options import ReadsData
from trfcli.errors import report
from trfcli.help import HelpLayout
from trfcli.remarks import show_remarks
from trfcli.signals import terminated_like_interrupted
from trfcli.usage import refuse_empty

if TYPE_CHECKING:
    # Typer ships its own copy of click without public names for these types.
    from typer._click import Context, Parameter

# The options that commands share with `trf`.
SHARED = ("code", "quiet", "debug")
# How often a waiting thread of libgomp looks for new work before it sleeps. By default 30 times as
# often: beside a busy process, threads then spend most of their time waiting for one that has lost
# its core. With fewer rounds than these, training is slower on an idle machine.
_SPIN_COUNT = "10000"


class Command(HelpLayout, ReadsData):
    """A command that accepts the shared options like `trf`, and prints errors as messages."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        *params, help_param = super().get_params(ctx)
        shared = [param for param in ctx.find_root().command.params if param.name in SHARED]
        own = {param.name for param in params}
        return [*params, *(param for param in shared if param.name not in own), help_param]

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        given = list(args)
        rest = super().parse_args(ctx, args)
        refuse_empty(self.get_params(ctx), ctx.params, given)
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


class CommandWithOverrides(TakesOverrides, Command):
    """A command that also takes every setting of its config as an option."""


def reads_typed_text(ctx: "Context") -> bool:
    """Whether a command reads what is typed on a terminal, where nothing should be drawn then."""
    return "-" in map(str, ctx.params.values()) and sys.stdin is not None and sys.stdin.isatty()


def is_for_programs(ctx: "Context") -> bool:
    """Whether a program may read all that a command prints."""
    return bool(ctx.params.get("as_json")) and not sys.stderr.isatty()


def limit_spinning() -> None:
    """Let torch's waiting threads give up their cores soon. Call this before importing torch."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_COUNT)
