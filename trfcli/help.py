"""The layout of `--help`: options in sections, and examples that can be copied.

Typer's own layout is a table of six columns, which cuts off names on narrow terminals.
"""

import re
import textwrap
from typing import TYPE_CHECKING

from typer.core import TyperArgument

from trfcli.options import GENERAL

if TYPE_CHECKING:
    # Typer ships its own copy of click without public names for these types.
    from typer._click import Command, Context, HelpFormatter

    Base = Command
else:
    Base = object

_MAX_NAME_WIDTH = 26


class HelpLayout(Base):
    """A mixin for commands and groups."""

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        # Typer writes {MODEL}, and {MODEL}... for several.
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        for title, rows in parameters(ctx).items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=_MAX_NAME_WIDTH)

    def format_epilog(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        with formatter.section("Example"):
            for line in (self.epilog or "").splitlines():
                formatter.write(_wrap_command(line, formatter.width))


def parameters(ctx: "Context") -> dict[str, list[tuple[str, str]]]:
    """Return the name and the explanation of each parameter, by section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        section = getattr(param, "rich_help_panel", None) or "Options"
        if isinstance(param, TyperArgument):
            # The usage line shows which arguments are required. The explanation names their type.
            section, name, text = "Arguments", name.split()[0], text.replace("[required]", "")
        elif param.name == "help":
            section = GENERAL
        # Typer puts a default that is given as a text in parentheses.
        text = re.sub(r"default: \((.*?)\)(?=[;\]])", r"default: \1", text)
        # Leave out the range of a number. A number outside it gets an error that names the range.
        text = re.sub(r"(; )?([\d.]+<=?)?x[<>]=?[\d.]+\]$", "]", text).removesuffix("[]")
        sections.setdefault(section, []).append((name, text.rstrip()))
    return sections


def _wrap_command(command: str, width: int) -> str:
    """Wrap a command with backslashes, so that it can be copied to a shell."""
    lines = textwrap.wrap(
        command,
        width - len(" \\"),
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return " \\\n".join(lines) + "\n"
