"""The layout of `--help`: names in one column, explanations in the other.

Typer's own layout is a table of six columns, which cuts names off on narrow terminals. Here a name
that is too wide for its column gets a line of its own.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer
from typer.core import TyperArgument

from trfcli.console.streams import has_color
from trfcli.console.text import NO_BREAK
from trfcli.options import GENERAL

if TYPE_CHECKING:
    # Typer ships its own copy of click without public names for these types.
    from typer._click import Context, HelpFormatter, Parameter

_MAX_NAME_WIDTH = 26
_INDENT = "  "


def write_help(
    ctx: "Context", formatter: "HelpFormatter", commands: Sequence[tuple[str, str]] = ()
) -> None:
    """Write the help of a command.

    Args:
        commands: The names of its subcommands and the help of each.
    """
    command = ctx.command
    formatter.write_usage(ctx.command_path, " ".join(command.collect_usage_pieces(ctx)))
    formatter.write("\n" + textwrap.fill(command.help or "", formatter.width) + "\n")
    sections = {"Commands": list(commands)} if commands else {}
    sections.update(parameters(ctx))
    names = [name for rows in sections.values() for name, _ in rows]
    column = min(max(map(len, names)), _MAX_NAME_WIDTH)
    for title, rows in sections.items():
        formatter.write(_heading(title))
        for name, text in rows:
            formatter.write(_columns(name, text, column, formatter.width))
    formatter.write(_heading("Example"))
    for line in (command.epilog or "").splitlines():
        formatter.write(_shell_lines(line, formatter.width))


def parameters(ctx: "Context") -> dict[str, list[tuple[str, str]]]:
    """Return the name and the explanation of each parameter, by section."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            sections.setdefault(_section(param), []).append(_row(param, *record))
    return sections


def usage_pieces(params: Iterable["Parameter"]) -> list[str]:
    """Return the arguments as they stand in the usage line, optional ones in brackets."""
    arguments = [param for param in params if isinstance(param, TyperArgument)]
    return [_argument(param) if param.required else f"[{_argument(param)}]" for param in arguments]


def _argument(argument: TyperArgument) -> str:
    return argument.metavar or argument.name.upper()


def _section(param: "Parameter") -> str:
    if isinstance(param, TyperArgument):
        return "Arguments"
    if param.name == "help":
        return GENERAL
    return getattr(param, "rich_help_panel", None) or "Options"


def _row(param: "Parameter", name: str, text: str) -> tuple[str, str]:
    # Typer puts a default that is given as a text in parentheses.
    text = re.sub(r"default: \((.*?)\)(?=[;\]])", r"default: \1", text)
    # The range of a number is noise here. A number outside it gets an error that names the range.
    text = re.sub(r"(; )?([\d.]+<=?)?x[<>]=?[\d.]+\]$", "]", text).removesuffix("  []")
    if isinstance(param, TyperArgument):
        # The usage line says that it is required, and its name says its type.
        return _argument(param), re.sub(r"\s*\[required\]$", "", text)
    return name, text


def _columns(name: str, text: str, column: int, width: int) -> str:
    # A short default or environment variable stays on one line.
    text = re.sub(r"\[[^\]]{,24}\]", lambda match: match[0].replace(" ", NO_BREAK), text)
    indent = " " * (2 * len(_INDENT) + column)
    fits = len(name) <= column
    lines = textwrap.fill(
        text,
        width,
        initial_indent=f"{_INDENT}{name}".ljust(len(indent)) if fits else indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = lines if fits else f"{_INDENT}{name}\n{lines}"
    return lines.replace(NO_BREAK, " ").replace(name, _styled(name, fg=typer.colors.CYAN), 1) + "\n"


def _shell_lines(command: str, width: int) -> str:
    """Wrap a command before options, pipes and redirections; it can still be copied to a shell."""
    lines = textwrap.wrap(
        re.sub(r" (?!--|[|<>])", NO_BREAK, command),
        width - len(" \\"),
        initial_indent=_INDENT,
        subsequent_indent=3 * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return " \\\n".join(lines).replace(NO_BREAK, " ") + "\n"


def _heading(title: str) -> str:
    return f"\n{_styled(title, bold=True)}:\n"


def _styled(text: str, *, bold: bool | None = None, fg: str | None = None) -> str:
    return typer.style(text, bold=bold, fg=fg) if has_color(sys.stdout) else text
