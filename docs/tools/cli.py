"""Write docs/reference/cli.md from the commands of `trf`.

python docs/tools/cli.py
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from trfcli.app import COMMANDS, app
from trfcli.help import parameters
from trfcli.options import GENERAL

PAGE = Path(__file__).parents[1] / "reference" / "cli.md"
HEAD = """\
# Command line

<!-- Written by docs/tools/cli.py: `make docs-cli`. -->

Data goes to stdout, everything else to stderr, so output can be piped. `NO_COLOR` is honored. The
exit code is 0 on success, 1 if something failed, 2 if the command was used wrongly, 3 if `annotate`
skipped texts, and 130 if it was interrupted. Every command also takes the general options of `trf`.
"""


def reference() -> str:
    """Return the text of the page."""
    group: Any = typer.main.get_command(app)
    root = group.make_context("trf", [], resilient_parsing=True)
    parts = [HEAD, section(root, parameters(root))]
    for name, *short in COMMANDS:
        command = group.get_command(root, name)
        context = type(root)(command, info_name=name, parent=root)
        own = {title: rows for title, rows in parameters(context).items() if title != GENERAL}
        parts.append(section(context, own, short=short))
    return "\n".join(parts)


def section(
    context: Any, tables: dict[str, list[tuple[str, str]]], short: Sequence[str] = ()
) -> str:
    """Describe a command: what it does, its usage, its parameters, and an example."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    sentences = [command.help, *(f"Short name: `trf {name}`." for name in short)]
    return "\n".join(
        [
            f"## {context.command_path}\n",
            " ".join(sentences) + "\n",
            f"```text\n{usage}\n```\n",
            *(table(title, rows) for title, rows in tables.items()),
            "<!-- not run: the tests of the commands do -->",
            f"```bash\n{command.epilog}\n```\n",
        ]
    )


def table(title: str, rows: list[tuple[str, str]]) -> str:
    """Format parameters as a table."""
    lines = [f"| `{cell(name)}` | {cell(text)} |" for name, text in rows]
    return "\n".join([f"| {title} | |", "|---|---|", *lines]) + "\n"


def cell(text: str) -> str:
    """Format text for a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf8")
