"""Write docs/reference/cli.md from the commands of `trf`.

python docs/tools/cli.py
"""

import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from trfcli.app import COMMANDS, app

PAGE = Path(__file__).parents[1] / "reference" / "cli.md"
HEAD = """\
# Command line

<!-- Written by docs/tools/cli.py: `make docs-cli`. -->

Data goes to stdout, everything else to stderr, so that output can be piped. `NO_COLOR` is
honored. The exit code is 0 on success, 1 if something failed, 2 if the command was used wrongly
and 130 if it was interrupted.
"""


def reference() -> str:
    """The text of the page."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("trf", [], resilient_parsing=True)
    parts = [HEAD, _section("trf", group, context, usage="trf [OPTIONS] COMMAND [ARGS]...")]
    for entry in COMMANDS:
        command = group.get_command(context, entry.name)
        own = type(context)(command, info_name=entry.name, parent=context)
        words = [_word(each) for each in _arguments(command, own)]
        usage = " ".join(["trf", entry.name, "[OPTIONS]", *words])
        short = f"Short: `trf {entry.alias}`.\n" if entry.alias else ""
        parts.append(_section(f"trf {entry.name}", command, own, usage=usage, short=short))
    return "\n".join(parts)


def _section(title: str, command: Any, context: Any, *, usage: str, short: str = "") -> str:
    lines = [f"## {title}\n", _plain(command.help or "") + "\n"]
    if short:
        lines.append(short)
    lines.append(f"```text\n{usage}\n```\n")
    arguments = _arguments(command, context)
    if arguments:
        rows = [f"| `{_word(each)}` | {_help(each)} |" for each in arguments]
        lines.append(_table("Argument", rows))
    hints = get_type_hints(command.callback)
    panels: dict[str, list[str]] = {}
    for param in command.get_params(context):
        if param.param_type_name == "option" and not param.hidden:
            panel = getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(_option(param, hints.get(param.name)))
    for panel, rows in panels.items():
        lines.append(_table(panel, rows))
    example = textwrap.dedent(_plain(command.epilog or "").partition("Example:\n")[2]).strip()
    if example:
        lines.append(f"<!-- not run: the tests of the commands do -->\n```bash\n{example}\n```\n")
    return "\n".join(lines)


def _table(head: str, rows: list[str]) -> str:
    table = "\n".join([f"| {head} | |", "|---|---|", *rows])
    return f'<div class="options" markdown>\n\n{table}\n\n</div>\n'


def _arguments(command: Any, context: Any) -> list[Any]:
    return [each for each in command.get_params(context) if each.param_type_name == "argument"]


def _word(argument: Any) -> str:
    """An argument as the usage line has it."""
    name = (argument.metavar or argument.name.upper()).strip("{}[]")
    return name if argument.required else f"[{name}]"


def _option(param: Any, hint: Any) -> str:
    names = [*sorted(param.opts, key=len, reverse=True), *param.secondary_opts]
    value = "" if param.is_flag else f" {_metavar(param, hint)}"
    shown = ", ".join(f"`{name}{value}`" if name == names[0] else f"`{name}`" for name in names)
    default = _default(param)
    return f"| {shown} | {_help(param)}{f' Default: {default}.' if default else ''} |"


def _metavar(param: Any, hint: Any) -> str:
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return param.metavar or r"\|".join(choices) or hint.__name__.upper()


def _default(param: Any) -> str:
    if isinstance(param.show_default, str):
        return _cell(param.show_default)
    if param.is_flag or param.default is None or not param.show_default:
        return ""
    return f"`{getattr(param.default, 'value', param.default)}`"


def _help(param: Any) -> str:
    text = _cell(_plain(param.help or ""))
    return f"{text} Environment: `{param.envvar}`." if param.envvar else text


def _plain(text: str) -> str:
    """Text without the markup of rich."""
    return text.replace(r"\[", "[").strip()


def _cell(text: str) -> str:
    """Text as it can stand in a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf8")
