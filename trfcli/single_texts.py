"""The texts of commands that try a model: arguments, or the lines of stdin as they come."""

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from trfcli import console

if TYPE_CHECKING:
    from trfcli_pipeline.tasks.single_texts import BlankLine

Item = TypeVar("Item")

_STDIN = "-"

TextsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TEXT",
        help="The texts; none or - to read one per line from stdin.",
        show_default=False,
    ),
]


def given_texts(texts: list[str] | None, advise: Callable[[str], str]) -> list[str] | None:
    """Return the texts, or None for the lines of stdin. Warn of texts that are names of files.

    Blank lines of stdin are skipped. A blank argument is a mistake, such as a variable in a script
    that has no value.

    Args:
        texts: The argument.
        advise: Returns what to run for the texts of a file, by its name.
    """
    if texts in (None, [], [_STDIN]):
        return None
    if not all(text.strip() for text in texts or ()):
        raise typer.BadParameter("TEXT is empty")
    for text in filter(os.path.isfile, texts or ()):
        console.warn(f"{text} is a file, but its name is taken as a text. {advise(text)}")
    return texts


def are_typed(texts: list[str] | None) -> bool:
    """Whether a person types the texts on a terminal."""
    return texts is None and sys.stdin is not None and sys.stdin.isatty()


def results(
    found: "Iterator[Item | BlankLine]", texts: list[str] | None, command: str
) -> Iterator[Item]:
    """Yield the results of texts. Ask for them if they are typed, and warn of blank lines.

    Args:
        found: The results, or `BlankLine` for a blank line of stdin.
        texts: What `given_texts` returned.
        command: Name of the command, such as "trf predict".

    Raises:
        DataError: There was no text.
    """
    from trfcli_pipeline.errors import DataError
    from trfcli_pipeline.tasks.single_texts import BlankLine

    if are_typed(texts):
        console.end_status()
        console.info("Type a text and press Enter. Ctrl-D ends.")
    any_text = False
    for each in found:
        if isinstance(each, BlankLine):
            console.warn(f"stdin, line {each.line}: skipped, because it is empty")
        else:
            any_text = True
            yield each
    if not any_text and not are_typed(texts):
        raise DataError("stdin: no text", hint=f'Give it one: {command} MODEL "A text."')
